"""Records the bytes that TensorBoard's own classes write for the records of test/src/visualize/tensorboard.test.ts.

    pip install tensorboard && python record-tensorboard.py > tensorboard.json

Recorded with tensorboard 2.21.0 (Apache 2.0). One hexadecimal TFRecord a line of the metrics.
"""
import io
import json
from math import exp

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2
from tensorboard.summary.writer.record_writer import RecordWriter


class Kept(io.BytesIO):
    def close(self):
        pass


def framed(event):
    out = Kept()
    writer = RecordWriter(out)
    writer.write(event.SerializeToString())
    writer.flush()
    return out.getvalue().hex()


def scalars(step, time, **values):
    summary = summary_pb2.Summary()
    for tag, value in values.items():
        summary.value.add(tag=tag.replace("__", "/"), simple_value=value)
    return event_pb2.Event(wall_time=time, step=step, summary=summary)


def text(step, time, content):
    shape = tensor_shape_pb2.TensorShapeProto()
    shape.dim.add(size=1)
    value = summary_pb2.Summary.Value(tag="sample")
    value.metadata.plugin_data.plugin_name = "text"
    value.tensor.CopyFrom(tensor_pb2.TensorProto(dtype=7, tensor_shape=shape, string_val=[content.encode()]))
    return event_pb2.Event(wall_time=time, step=step, summary=summary_pb2.Summary(value=[value]))


start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
print(
    json.dumps(
        {
            "version": framed(event_pb2.Event(wall_time=1.5, file_version="brain.Event:2")),
            "start": framed(event_pb2.Event(wall_time=1.5, step=300, session_log=start)),
            "step": framed(
                scalars(
                    300, 1.7e9,
                    train__loss=2.5, train__lr=1e-3, train__gradNorm=0.75,
                    train__tokensPerSecond=12345.5, train__memory=123456789.0, train__lossScale=65536.0,
                )
            ),
            "evaluation": framed(
                scalars(300, 1.7e9 + 0.25, validation__loss=2.25, validation__perplexity=exp(2.25))
            ),
            "sample": framed(text(70000, 1.7e9 + 0.5, "    ROMEO:\n    Ünd <b>\n    ")),
        },
        indent=2,
    )
)
