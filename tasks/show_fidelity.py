"""`make fidelity`: how much of the personas shows in a folder of transcripts."""

import sys
from pathlib import Path

from core.errors import SettingsError, UnderstudyError
from core.fidelity import measure_fidelity
from core.pack import load_pack
from core.reports import fidelity_markdown
from core.settings import load_settings
from core.store import CHECKOUT
from core.transcript_files import find_transcripts


def main(arguments: list[str]) -> int:
    """Print the figures as Markdown; return the exit code."""
    given = {"domain": "therapeutic-coaching", "transcripts": "", "settings": "config/pipeline.yaml"} | dict(item.partition("=")[::2] for item in arguments)
    try:
        if not given["transcripts"]:
            raise SettingsError("No folder of transcripts was given. Say make fidelity TRANSCRIPTS=folder.")
        found = find_transcripts(CHECKOUT / Path(given["transcripts"]).expanduser())
        report = measure_fidelity(load_pack(given["domain"]), list(found.transcripts.values()), load_settings(given["settings"]).fidelity)
    except UnderstudyError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    print(fidelity_markdown(report))
    for path, reason in found.left_out.items():
        print(f"Left out {path.name}: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
