"""A plain question to a model, for prompts that are tried out. Implements `core.completion.Models`."""

from __future__ import annotations

import httpx

from core.completion import Completion, ModelAwayError
from core.settings import OWN_PROJECT, Settings
from llm.library import hub, text_at
from llm.transport import CappedTransport

AWAY = (408, 409, 429, 500, 502, 503, 504)


class ChatModels:
    """Any server that speaks OpenAI's protocol, through `langchain-openai`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def complete(
        self, system: str, question: str, *, model: str, temperature: float, max_tokens: int, timeout_s: float
    ) -> Completion:
        """Return what the model says. A server that is away is told from one that refuses."""
        import openai
        from langchain_openai import ChatOpenAI
        from langsmith.run_helpers import tracing_context
        from pydantic import SecretStr

        with httpx.Client(transport=CappedTransport(), timeout=httpx.Timeout(timeout_s, connect=5.0)) as connection:
            chat = ChatOpenAI(
                model=model,
                api_key=self.settings.openai_api_key or SecretStr("none"),
                base_url=self.settings.openai_base_url,
                temperature=temperature,
                timeout=timeout_s,
                max_retries=0,  # a retry would be a second throw of the dice
                max_tokens=max_tokens,
                use_responses_api=False,
                stream_usage=False,
                http_client=connection,
            )
            traces = hub(self.settings)
            try:
                with tracing_context(project_name=OWN_PROJECT, enabled=traces is not None, client=traces, parent=False):
                    said = chat.invoke([("system", system), ("human", question)])
            except openai.APITimeoutError:
                raise TimeoutError(f"{model} did not answer within {timeout_s:g} s") from None
            except openai.APIConnectionError:
                raise ModelAwayError(f"{model} cannot be reached") from None
            except openai.APIStatusError as error:
                if error.status_code in (401, 403, *AWAY):
                    raise ModelAwayError(f"{model} answered {error.status_code}") from None
                raise ValueError(f"{model} refused: status {error.status_code}") from None
            except httpx.HTTPError as error:
                raise ModelAwayError(f"{model}: {type(error).__name__}") from None
        used = getattr(said, "usage_metadata", None) or {}
        if not isinstance(said.content, str) or not said.content:
            raise ValueError(f"{model} answered without text")
        return Completion(said.content, int(used.get("input_tokens", 0)), int(used.get("output_tokens", 0)))

    def prompt(self, name: str) -> str:
        """Return the text of a prompt of the hub at a commit."""
        client = hub(self.settings)
        if client is None:
            raise ModelAwayError(f"{name} is in the LangSmith hub: set LANGSMITH_API_KEY to read it")
        try:
            return text_at(name, client)
        except Exception as error:  # noqa: BLE001 - the hub's client raises of many kinds, and none is the candidate's
            raise ModelAwayError(f"{name} cannot be fetched: {type(error).__name__}") from None


def chat_models(settings: Settings) -> ChatModels | None:
    """Return the way to models, or None where none is configured."""
    if settings.openai_api_key is None and settings.openai_base_url is None:
        return None
    return ChatModels(settings)
