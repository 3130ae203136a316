"""Anthropic's event stream."""

import json

from tests.stub.wire import Json


def events(message: Json) -> bytes:
    """Return the whole stream that would have carried a message.

    Args:
        message: as it would be answered without streaming.
    """
    usage = message["usage"]
    start = message | {"content": [], "stop_reason": None, "stop_details": None, "usage": usage | {"output_tokens": 1}}
    out: list[Json] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty, delta = block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            empty, delta = block | {"input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        out += [
            {"type": "content_block_start", "index": index, "content_block": empty},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    ending = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    out += [{"type": "message_delta", "delta": ending, "usage": usage}, {"type": "message_stop"}]
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in out)
