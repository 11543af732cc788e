"""The words of a request in the order that lets providers reuse a cached prefix."""

from __future__ import annotations

from aigenflow.core.models import AgentRequest, Language
from aigenflow.gateway.base import render_context

GO_ON = {
    Language.EN: (
        "Your answer was cut off at its length limit. Go on exactly where it stopped, in the "
        "middle of the word or table row if need be. Do not repeat anything and do not comment."
    ),
    Language.KO: (
        "답변이 길이 제한에 걸려 끊겼습니다. 끊긴 바로 그 지점부터, 단어나 표의 행 중간이라도 "
        "그대로 이어서 쓰십시오. 이미 쓴 내용을 되풀이하거나 다른 말을 덧붙이지 마십시오."
    ),
}
"""Asks the model to finish a cut answer, in the language of the request."""


def turns(request: AgentRequest) -> list[dict[str, str]]:
    """The conversation without the system text, as ``{"role", "content"}`` objects.

    Context comes first and the instruction last: calls that share their context share a prefix.
    """
    context = render_context(request.context)
    question = f"{context}\n\n{request.prompt}" if context else request.prompt
    conversation = [{"role": "user", "content": question}]
    if request.answer_so_far:
        conversation.append({"role": "assistant", "content": request.answer_so_far})
        conversation.append({"role": "user", "content": GO_ON[request.language]})
    return conversation
