"""From a model reference to a model."""

from blocks.llama_cpp import LlamaCpp
from blocks.scripted import Scripted
from core.chat import ChatModel, split_reference
from core.pack import Pack
from core.settings import LlamaCppSettings
from core.store import open_store

PROVIDERS = ("scripted", "llama-cpp")


def load_chat_model(reference: str, pack: Pack, llama_cpp: LlamaCppSettings) -> ChatModel:
    """Return the model that a reference names.

    Args:
        reference: `scripted/<name>` or `llama-cpp/<path of a GGUF>`; a relative path is looked up below the data root.
        pack: the domain that is played.
        llama_cpp: how a GGUF is played.

    Raises:
        SettingsError: an unknown provider or model.
    """
    provider, model = split_reference(reference, PROVIDERS)
    if provider == "scripted":
        return Scripted(name=model).get_client(pack)
    return LlamaCpp(model_path=open_store().local(model), **llama_cpp.model_dump()).get_client()
