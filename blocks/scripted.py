"""The scripted provider, which needs no external service."""

from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, HttpUrl

from core.packs.pack import Pack
from core.scripted.chat import ScriptedChat, ScriptedDesigner


class Scripted(CredentialsBlock):
    """Plays every role deterministically from a domain's phrases, without a network.

    Example:
        Load a saved block and get its model:
        ```python
        from blocks.scripted import Scripted
        from core.packs.pack import load_pack

        block = Scripted.load("BLOCK_NAME")
        model = block.get_client(load_pack("therapeutic-coaching"))
        ```
    """

    _block_type_name = "Understudy Scripted Model"
    _block_type_slug = "understudy-scripted"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    name: str = Field(default="mixed", title="Model", description="user, judge, repairer, designer, mixed, or an assistant's quality from 0 to 1.")

    def get_client(self, pack: Pack) -> ScriptedChat | ScriptedDesigner:
        """Return the model.

        Args:
            pack: the domain pack whose phrases are used.
        """
        return ScriptedDesigner() if self.name == "designer" else ScriptedChat(self.name, pack)
