"""Records BLEU, ROUGE and a classification report for test/src/evaluation: python3 record-metrics.py > metrics.json

Written with sacrebleu 2, rouge-score 0.1.2 and scikit-learn 1; the texts are made up.
"""

import json
import random

import sacrebleu
from rouge_score import rouge_scorer
from sklearn.metrics import classification_report

cases = [
    (["the cat sat on the mat"], ["the cat sat on the mat"]),
    (["the cat the cat on the mat", "He said: \"no, 3.5 more!\""], ["the cat is on the mat", "He said: \"no, 3,5 more.\""]),
    (["a b c d e", "f"], ["a b x d e", "f g h i j k"]),
    (["one two three"], ["four five six"]),
    (["one"], ["one"]),
    (["C'est l'été -- n'est-ce pas ?", "Il a 12-14 ans (ou 1,000.50)."], ["C'est l'été, n'est-ce pas ?", "Il avait 12-14 ans, ou 1,000.5."]),
    (["x &amp; y &lt;z&gt; {braces} ~tilde @at"], ["x & y <z> {braces} tilde @at again"]),
    (["the quick brown fox jumps over the dog", "", "nothing here is right"], ["the quick red fox jumped over the lazy dog", "something", "all of it is wrong here"]),
]
random.seed(1)
words = "a the cat dog runs fast slow and 7 , . sees 's".split()
for size in (3, 20):
    make = lambda: [" ".join(random.choice(words) for _ in range(random.randint(0, 15))) for _ in range(size)]
    cases.append((make(), make()))

scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
out = {"texts": [], "classes": []}
for texts, references in cases:
    b = sacrebleu.corpus_bleu(texts, [references])
    scores = [scorer.score(r, t) for t, r in zip(texts, references)]
    rouge = {k: sum(s[k].fmeasure for s in scores) / len(scores) for k in ("rouge1", "rouge2", "rougeL")}
    out["texts"].append(
        {
            "texts": texts,
            "references": references,
            "bleu": {"score": b.score, "precisions": list(b.precisions), "brevityPenalty": b.bp, "words": b.sys_len, "referenceWords": b.ref_len},
            "rouge": rouge,
        }
    )
for labels, expected, found in [
    (["bad", "good"], [0, 1, 1, 0, 1], [0, 1, 0, 0, 1]),
    (["a", "b", "c"], [0, 1, 2, 2, 1, 0, 0], [0, 2, 2, 1, 1, 0, 1]),
    (["a", "b", "c"], [0, 0, 1], [0, 1, 1]),
]:
    r = classification_report(expected, found, labels=list(range(len(labels))), target_names=labels, output_dict=True, zero_division=0)
    accuracy = sum(e == f for e, f in zip(expected, found)) / len(expected)
    row = lambda s: {"precision": s["precision"], "recall": s["recall"], "f1": s["f1-score"], "support": s["support"]}
    out["classes"].append(
        {
            "labels": labels,
            "expected": expected,
            "found": found,
            "report": {"accuracy": accuracy, "classes": {l: row(r[l]) for l in labels}, "macro": row(r["macro avg"]), "weighted": row(r["weighted avg"])},
        }
    )
print(json.dumps(out, ensure_ascii=False, indent=1))
