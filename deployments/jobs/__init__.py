"""The sources of the job scripts. `build.py` joins them into the single files of `built/`.

`common` is shared by several scripts. Each other folder is one script, which starts in its
`script.py`. Nothing here imports from the project, because a job consists of its one file.
"""
