"""The job scripts in readable parts; `build.py` joins them into the files of `built/`, which run.

`common` is what several scripts need; `train`, `convert`, `llama` and `unpack` are one script each,
which begins in its `script.py`. Nothing here imports from the project: a job has its file alone.
"""
