"""What is checked before a run makes or pays for anything."""

from blocks.chat import load_chat_model
from core.pack import load_pack
from core.settings import load_settings, load_training
from core.store import open_store


def check_before_start(domain: str, settings: str) -> None:
    """Load all that the run will read, so that a mistake is told at once.

    Args:
        domain: name of a domain pack.
        settings: path of the settings file.

    Raises:
        UnderstudyError: the first thing found wrong in the settings, the pack, a model reference or the data root.
    """
    config, pack = load_settings(settings), load_pack(domain)
    load_training(config.training)
    for reference in (config.roles.user_simulator, config.roles.assistant, config.roles.judge):
        load_chat_model(reference, pack, config.llama_cpp)
    open_store().check_writable()
