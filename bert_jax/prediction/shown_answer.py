"""An answer in lines for a person, of a text that was given on the command line."""

from collections.abc import Iterator
from typing import Any

MOST = 10  # classes that are shown


def lines_of(answer: dict[str, Any]) -> Iterator[str]:
    """Yield what a model says of one text, likeliest first; `answer` is that of any kind of model, as a dict."""
    if "entities" in answer:
        for entity in answer["entities"]:
            place = f"characters {entity['start']} to {entity['end']}"
            yield f"{entity['score']:7.2%}  {entity['label']:16}  {entity['text']}  ({place})"
        if not answer["entities"]:
            yield "no entities"
    elif "choice" in answer:
        yield f"{max(answer['probabilities']):7.2%}  {answer['choice']}"
    elif "answer" in answer:
        for one in answer.get("n_best") or [answer]:
            yield f"{one['score']:7.2%}  {one['answer'] or '(no answer)'}"
    elif "probabilities" in answer:
        ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
        for label, probability in ranked[:MOST]:
            yield f"{probability:7.2%}  {label}"
        if len(ranked) > MOST:
            yield f"and {len(ranked) - MOST} less likely classes"
    else:
        for name, score in (answer.get("scores") or {"score": answer["score"]}).items():
            yield f"{score:.6g}  {name}"
