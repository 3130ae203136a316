"""llama.cpp's page as `understudy chat --open` serves it: what it sends and what it shows."""

import json
import signal
import subprocess

from tests.blocks.test_llama_server import needs_program, random_gguf
from tests.conftest import CHECKOUT
from tests.terminal.test_chat import COMMAND, TRAINED, Chat

NOTICE = "getComputedStyle(document.querySelector('form:has(textarea)'), '::after').content"


@needs_program
def test_the_chat_page_answers_with_the_trained_prompt_below_the_notice_without_leaving_the_machine(browser, tmp_path, request):
    chat = Chat(tmp_path)
    chat.export(random_gguf(tmp_path / "random.gguf"))
    chat.environment = {name: value for name, value in chat.environment.items() if name != "UNDERSTUDY_LLAMA_SERVER"} | {"BROWSER": "true"}
    process = subprocess.Popen([*COMMAND, "chat", "--open", "--max-tokens", "8"], cwd=CHECKOUT, env=chat.environment, stderr=subprocess.PIPE, text=True)
    request.addfinalizer(process.kill)
    assert process.stderr
    address = next(line.strip() for line in iter(process.stderr.readline, "") if line.startswith("http://127.0.0.1:"))
    page, asked = browser.new_page(), []
    page.set_default_timeout(240_000)
    page.on("request", lambda sent: asked.append(sent.url))
    page.goto(address)
    page.fill("textarea", "Hello.")
    page.wait_for_function(f"{NOTICE}.includes('not a therapist')")
    with page.expect_response("**/v1/chat/completions") as answer:
        page.keyboard.press("Enter")
    sent = json.loads(answer.value.request.post_data)
    assert [(message["role"], message["content"]) for message in sent["messages"]] == [("system", TRAINED), ("user", "Hello.")]
    assert (sent["max_tokens"], sent["tools"]) == (8, [])
    answer.value.finished()
    assert '"finish_reason":"length"' in answer.value.text().replace(" ", "")
    assert all(url.startswith((address, "data:", "blob:")) for url in asked), asked
    page.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=240) == 0
    process.stderr.close()
