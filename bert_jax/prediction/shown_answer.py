"""Show the prediction for a text of the command line."""

from collections.abc import Iterator
from typing import Any

SHOWN_CLASSES = 10


def answer_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Yield lines that show the prediction of any kind of model for one text, the most likely class or answer first."""
    if "entities" in answer:
        for entity in answer["entities"]:
            span = f"characters {entity['start']} to {entity['end']}"
            yield f"{entity['score']:7.2%}  {entity['label']:16}  {entity['text']}  ({span})"
        if not answer["entities"]:
            yield "no entities"
    elif "choice" in answer:
        yield f"{max(answer['probabilities']):7.2%}  {answer['choice']}"
    elif "answer" in answer:
        for candidate in answer.get("n_best") or [answer]:
            yield f"{candidate['score']:7.2%}  {candidate['answer'] or '(no answer)'}"
    elif "probabilities" in answer:
        ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
        for label, probability in ranked[:SHOWN_CLASSES]:
            yield f"{probability:7.2%}  {label}"
        if len(ranked) > SHOWN_CLASSES:
            yield f"and {len(ranked) - SHOWN_CLASSES} less likely classes"
    else:
        for name, score in (answer.get("scores") or {"score": answer["score"]}).items():
            yield f"{score:.6g}  {name}"
