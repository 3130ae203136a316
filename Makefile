# Understudy. `make help` lists the commands.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# No telemetry: Prefect's client, Prefect's server (prefect.toml), Hugging Face.
export DO_NOT_TRACK := 1
export HF_HUB_DISABLE_TELEMETRY := 1

BIN := .venv/bin
DOMAIN ?= therapeutic-coaching
UNDERSTUDY := $(BIN)/understudy
# $(call option,COUNT,count) is --count "…" where COUNT is given; $(call flag,OPEN,open) is --open
option = $(if $($(1)),--$(2) "$($(1))")
flag = $(if $(filter-out 0 false no,$($(1))),--$(2))
COMMON = --domain "$(DOMAIN)" $(call option,SETTINGS,settings)

# A target or a variable that nobody knows is refused before anything is made: COUNT misspelt would rehearse, and pay for, as many as the settings say.
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
REFUSED := $(shell deployments/refuse_words.sh '$(subst ','\'',$(or $(MAKECMDGOALS),help))' '$(subst ','\'',$(GIVEN))' < Makefile)
ifneq ($(REFUSED),)
$(error $(REFUSED))
endif

.PHONY: help
help:  ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: setup
setup:  ## Install everything into .venv; the second time it is quick [CMAKE_ARGS=…]
	@deployments/install.sh

.PHONY: setup-light
setup-light:  ## Install without torch and llama.cpp: enough to generate and assess
	@deployments/install.sh light

.PHONY: demo
demo: setup  ## Run the whole pipeline without keys [DOMAIN=… COUNT=… TRANSCRIPTS=folder SETTINGS=file]
	@$(UNDERSTUDY) run "$(or $(SETTINGS),demo)" --domain "$(DOMAIN)" $(call option,COUNT,count) $(call option,TRANSCRIPTS,transcripts)

.PHONY: generate
generate:  ## Rehearse conversations [DOMAIN=… COUNT=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) generate $(COMMON) $(call option,COUNT,count)

.PHONY: assess
assess:  ## Judge what was rehearsed, or a folder [DOMAIN=… TRANSCRIPTS=folder CHECKPOINTS=files REPEAT=3 SAMPLE=20 SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) assess $(COMMON) $(call option,TRANSCRIPTS,transcripts) $(call option,CHECKPOINTS,checkpoints) \
	  $(call option,REPEAT,repeat) $(call option,SAMPLE,sample)

.PHONY: review
review:  ## Write a sheet on which a person judges a sample, or say what a filled one shows of the judge [SAMPLE=30 or SHEET=file, DOMAIN=… BATCH=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) review $(COMMON) $(call option,SAMPLE,sample) $(call option,SHEET,sheet) $(call option,BATCH,batch)

.PHONY: rescore
rescore:  ## Score recorded assessments once more by the rubric and show where the score differs [CHECKPOINTS=files DOMAIN=…]
	@deployments/install.sh light
	@$(UNDERSTUDY) rescore --domain "$(DOMAIN)" $(call option,CHECKPOINTS,checkpoints)

.PHONY: personas
personas:  ## Show the personas of a batch and how they cover the taxonomy [DOMAIN=… COUNT=20]
	@deployments/install.sh light
	@$(UNDERSTUDY) personas --domain "$(DOMAIN)" $(call option,COUNT,count)

.PHONY: check-domain
check-domain:  ## What a domain pack lacks, and each of its prompts as a model reads it [DOMAIN=… PROMPTS=1]
	@deployments/install.sh light
	@$(UNDERSTUDY) check-domain --domain "$(DOMAIN)" $(call flag,PROMPTS,prompts)

.PHONY: design
design:  ## Draft a domain pack from a brief, and have it reviewed [BRIEF=file DOMAIN=name INSTALL=true OVERWRITE=true SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) design $(COMMON) $(call option,BRIEF,brief) $(call flag,INSTALL,install) $(call flag,OVERWRITE,overwrite)

.PHONY: critique
critique:  ## A domain pack reviewed by its experts (experts.yaml), each from their own point of view; changes nothing [DOMAIN=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) critique $(COMMON)

.PHONY: pilot
pilot:  ## Try a pack, or a base before any training, on a few personas, and compare with the rounds before [DOMAIN=… COUNT=5 MODEL=provider/base SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) pilot $(COMMON) $(call option,COUNT,count) $(call option,MODEL,model)

.PHONY: fidelity
fidelity:  ## How much of the personas shows in a folder of transcripts [DOMAIN=… TRANSCRIPTS=folder SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) fidelity $(COMMON) $(call option,TRANSCRIPTS,transcripts)

.PHONY: slices
slices:  ## How a folder of transcripts would be cut into examples: how many, how long, what is shortened [TRANSCRIPTS=folder DOMAIN=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) slices $(COMMON) $(call option,TRANSCRIPTS,transcripts)

.PHONY: repair
repair:  ## Mend transcripts that almost passed, and judge them again [DOMAIN=… BATCH=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) repair $(COMMON) $(call option,BATCH,assessed)

.PHONY: dataset
dataset:  ## Make and publish the training set of what passed [DOMAIN=… ASSESSED=batches CHECKPOINTS=files TRANSCRIPTS=folder SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) dataset $(COMMON) $(call option,ASSESSED,assessed) $(call option,CHECKPOINTS,checkpoints) $(call option,TRANSCRIPTS,transcripts)

.PHONY: train
train: setup  ## Train an adapter on the domain's latest dataset, here or on Hugging Face Jobs (jobs.where) [DOMAIN=… SETTINGS=file]
	@$(UNDERSTUDY) train $(COMMON)

.PHONY: export
export: setup  ## Merge the latest adapter, convert it to GGUF, and prove the files [DOMAIN=… SETTINGS=file]
	@$(UNDERSTUDY) export $(COMMON)

.PHONY: evaluate
evaluate: setup  ## Compare the latest understudy with its base, and with other models [ARMS=name=provider/model,… PERSONAS=file DOMAIN=… SETTINGS=file]
	@$(UNDERSTUDY) evaluate $(COMMON) $(call option,ARMS,arms) $(call option,PERSONAS,personas)

.PHONY: chat
chat: setup  ## Talk to the latest understudy in the terminal, or in the browser [DOMAIN=… AGAINST=base MODEL=file OPEN=1 SETTINGS=file]
	@$(UNDERSTUDY) chat $(COMMON) $(call option,AGAINST,against) $(call option,MODEL,model) $(call flag,OPEN,open)

.PHONY: evaluate-recorded
evaluate-recorded:  ## The same statistics on assessments that were recorded elsewhere [DIR=folder TRANSCRIPTS=folder BASE=base DOMAIN=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) evaluate-recorded $(COMMON) $(call option,DIR,folder) $(call option,TRANSCRIPTS,transcripts) $(call option,BASE,base)

.PHONY: power
power:  ## What evaluations of several sizes can find [PILOT=comparison.json or folder N=personas TRIALS=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) power $(call option,SETTINGS,settings) $(call option,PILOT,pilot) $(call option,N,personas) $(call option,TRIALS,trials)

.PHONY: costs
costs:  ## What a run will cost, by stage, computed from the settings [DOMAIN=… SIZES=10,150,1000 SETTINGS=file WRITE=1: docs/costs.md]
	@deployments/install.sh light
	@$(UNDERSTUDY) costs $(COMMON) $(call option,SIZES,sizes) $(if $(WRITE),--to docs/costs.md)

.PHONY: configuration
configuration:  ## Write docs/configuration.md from the typed settings
	@deployments/install.sh light
	@$(BIN)/python -m tasks.write_configuration

.PHONY: bench-statistics
bench-statistics:  ## False positives, coverage and power of the evaluation's statistics, by simulation (1 minute)
	@deployments/install.sh light
	@$(BIN)/python -W ignore bench/paired_statistics.py

.PHONY: rubric
rubric:  ## Write docs/rubric.md from the criteria's files [DOMAIN=…]
	@deployments/install.sh light
	@$(UNDERSTUDY) rubric --domain "$(DOMAIN)" --to docs/rubric.md

.PHONY: check-models
check-models:  ## Ask each model of the settings one tiny thing: does it answer, how fast, at what price [DOMAIN=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) check-models $(COMMON)

.PHONY: blocks
blocks:  ## Register the blocks with a running Prefect server, so that they can be filled in there [PREFECT_API_URL=…]
	@deployments/install.sh light
	@$(BIN)/python deployments/setup.py blocks

.PHONY: ui
ui: setup  ## Prefect server, deployments and a worker, until Ctrl-C [PORT=4200]
	@$(BIN)/python deployments/ui.py

.PHONY: deploy
deploy:  ## Work pool, limits, blocks, automations and deployments on a running server; a second time nothing changes [PREFECT_API_URL=… SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python deployments/setup.py deploy $(call option,SETTINGS,settings)

.PHONY: nightly
nightly:  ## A night's batch now: new conversations, and a verdict on all that has none [DOMAIN=… COUNT=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) nightly $(COMMON) $(call option,COUNT,count)

.PHONY: release-candidate
release-candidate: setup  ## From all that passed to an evaluated understudy [DOMAIN=… SETTINGS=file]
	@$(UNDERSTUDY) release $(COMMON)

.PHONY: test
test: setup  ## Install what is needed and run the test suite [TESTS=paths]
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations 20 $(TESTS)

.PHONY: kill-test
kill-test: setup  ## Kill the pipeline in every stage, run it again, compare with an uninterrupted run
	@$(BIN)/python -m bench.kill

.PHONY: bench-pacing
bench-pacing:  ## How limits are found and bursts of refusals forgotten, in virtual time, beside AIMD (1 minute)
	@$(BIN)/python -W ignore bench/pacing.py

.PHONY: bench-llm
bench-llm:  ## Calls through our layers against the bare SDKs: speed, CPU, limits, tokens billed (15 minutes) [PARTS=…]
	@deployments/install.sh light
	@$(BIN)/python -W ignore bench/llm.py $(PARTS)

.PHONY: bench-rehearsal
bench-rehearsal:  ## 200 conversations of 3 to 50 exchanges, killed three times, against an uninterrupted run (6 minutes) [COUNT=… PARTS=…]
	@deployments/install.sh light
	@$(BIN)/python -W ignore bench/rehearsal.py $(COUNT) $(PARTS)

.PHONY: bench-judging
bench-judging:  ## Tokens billed in each mode of judging; a panel killed three times against an uninterrupted one (5 minutes) [PARTS=… TRANSCRIPTS=folder]
	@deployments/install.sh light
	@$(BIN)/python -W ignore bench/judging.py $(PARTS) $(if $(TRANSCRIPTS),transcripts="$(TRANSCRIPTS)")

.PHONY: bench-slicing
bench-slicing:  ## Slicing against one pass of the tokenizer and against encoding every prefix; memory (1 minute) [TRANSCRIPTS=folder]
	@deployments/install.sh light
	@$(BIN)/python -W ignore -m bench.slicing $(if $(TRANSCRIPTS),transcripts="$(TRANSCRIPTS)")

.PHONY: bench-training
bench-training:  ## On a GPU: peak memory and speed of QLoRA on a random model of Qwen3-14B's shape, against the estimate (10 minutes) [PARTS=…]
	@$(BIN)/python bench/training_memory.py $(PARTS)

.PHONY: bench-scale
bench-scale:  ## Batches over 1, 2 and 4 workers on PostgreSQL, with faults, and how time and memory grow (40 minutes) [PARTS="workers faults growth" COUNT=2000]
	@deployments/install.sh light
	@$(BIN)/python -W ignore bench/scale.py $(PARTS) $(if $(COUNT),conversations=$(COUNT))

.PHONY: bench-commands
bench-commands:  ## What a command costs whose work is done, through Prefect and from its receipt; where the time goes (2 minutes) [SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python bench/commands.py $(SETTINGS)

.PHONY: check
check: setup  ## Format, lint, types, import law, job scripts
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/ty check && $(BIN)/lint-imports && $(BIN)/python deployments/jobs/build.py --check

.PHONY: docs
docs:  ## Build the documentation as a site: open data/site/index.html
	@deployments/install.sh light
	@$(BIN)/uv run --frozen --isolated --only-group docs zensical build --strict

.PHONY: clean
clean:  ## Remove what was made here: data, Prefect's database, caches (not .venv, not the download cache)
	@rm -rf data .prefect .cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
