"""Records what Hugging Face's tokenizers library makes of the tokenizer files in this folder.

  pip install tokenizers==0.23.3 && python3 record.py
"""
import json
from pathlib import Path

from tokenizers import Tokenizer

here = Path(__file__).parent
texts = ["First hear", "a\nb\tc", "😀é\u2028", "  we  speak. <unk>", "", "0\\9\"/"]
for name in ["plain", "unknown"]:
    tokenizer = Tokenizer.from_file(str(here / f"{name}.json"))
    cases = []
    for text in texts + (["Zebra & ü 🎉!"] if name == "unknown" else []):
        try:
            ids = tokenizer.encode(text).ids
        except Exception as error:  # a character outside the alphabet, and no unknown token
            print(name, repr(text), error)
            continue
        cases.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids)})
    (here / f"{name}-ids.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")
