"""Prompts of InternVL's remote `chat` as chat templates of transformers."""

from collections.abc import Mapping
from dataclasses import dataclass

_ASSISTANT = (
    "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, "
    "是一个有用无害的人工智能助手。"
)
_ASSISTANT_2_5 = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位"
    "联合开发的多模态大语言模型。"
)


@dataclass(frozen=True, slots=True)
class Chat:
    """How one of the remote code's conversations writes its turns.

    Attributes:
        system: what it says where the conversation has no system message.
        opening: of a turn, with the role in place of `{}`.
        close: behind each turn.
    """

    system: str
    opening: str
    close: str

    @property
    def end(self) -> str:
        """The token with which an answer ends."""
        return self.close.strip()


_CHATML = "<|im_start|>{}\n"
CHATS: Mapping[str, Chat] = {
    "Hermes-2": Chat(_ASSISTANT, _CHATML, "<|im_end|>"),
    "internlm2-chat": Chat(_ASSISTANT, _CHATML, "<|im_end|>"),
    "phi3-chat": Chat(_ASSISTANT, "<|{}|>\n", "<|end|>"),
    "internvl2_5": Chat(_ASSISTANT_2_5, _CHATML, "<|im_end|>\n"),
}
"""By the `template` of the old config."""

_BODY = """\
{%- if messages[0]['role'] != 'system' -%}
{{- OPEN_SYSTEM + SYSTEM + CLOSE -}}
{%- endif -%}
{%- for message in messages -%}
{{- BEFORE_ROLE + message['role'] + AFTER_ROLE -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for content in message['content'] -%}
{%- if content['type'] == 'image' -%}
{{- '<IMG_CONTEXT>\\n' -}}
{%- elif content['type'] == 'video' -%}
{{- '<video>\\n' -}}
{%- elif content['type'] == 'text' -%}
{{- content['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- CLOSE -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- OPEN_ASSISTANT -}}
{%- endif -%}
"""


def chat_template(chat: Chat) -> str:
    """A conversation as a template; images stand as transformers' processor asks."""
    before, after = chat.opening.split("{}")
    words = {
        "OPEN_SYSTEM": chat.opening.format("system"),
        "OPEN_ASSISTANT": chat.opening.format("assistant"),
        "BEFORE_ROLE": before,
        "AFTER_ROLE": after,
        "CLOSE": chat.close,
        "SYSTEM": chat.system,
    }
    text = _BODY
    for word, value in words.items():
        text = text.replace(word, _quoted(value))
    return text


def _quoted(text: str) -> str:
    """As a Jinja string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
