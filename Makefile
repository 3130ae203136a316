# Understudy. `make help` lists the commands.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# No telemetry: Prefect's client, Prefect's server (prefect.toml), Hugging Face.
export DO_NOT_TRACK := 1
export HF_HUB_DISABLE_TELEMETRY := 1

BIN := .venv/bin
DOMAIN ?= therapeutic-coaching
PARAMETERS := domain=$(DOMAIN) $(if $(COUNT),conversations=$(COUNT)) $(if $(TRANSCRIPTS),transcripts="$(TRANSCRIPTS)")
CHOSEN := $(if $(SETTINGS),settings="$(SETTINGS)")

.PHONY: help
help:  ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: setup
setup:  ## Install everything into .venv; the second time it is quick
	@deployments/install.sh

.PHONY: setup-light
setup-light:  ## Install without torch and llama.cpp: enough to generate and assess
	@deployments/install.sh light

.PHONY: demo
demo: setup  ## Run the whole pipeline without keys [DOMAIN=… COUNT=… TRANSCRIPTS=folder SETTINGS=file]
	@$(BIN)/python -m flows pipeline $(PARAMETERS) $(or $(CHOSEN),settings=config/demo.yaml)

.PHONY: generate
generate:  ## Rehearse conversations [DOMAIN=… COUNT=… SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m flows generation $(filter-out transcripts=%,$(PARAMETERS)) $(CHOSEN)

.PHONY: assess
assess:  ## Judge what was rehearsed, or a folder [DOMAIN=… TRANSCRIPTS=folder CHECKPOINTS=files REPEAT=3 SAMPLE=20 SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m flows assessment $(filter-out conversations=%,$(PARAMETERS)) $(if $(CHECKPOINTS),checkpoints="$(CHECKPOINTS)") \
	  $(if $(REPEAT),repeat=$(REPEAT)) $(if $(SAMPLE),sample=$(SAMPLE)) $(CHOSEN)

.PHONY: review
review:  ## Write a sheet on which a person judges a sample, or say what a filled one shows of the judge [SAMPLE=30 | SHEET=file; DOMAIN=… BATCH=…]
	@deployments/install.sh light
	@$(BIN)/python -m tasks.review domain=$(DOMAIN) $(if $(SAMPLE),sample=$(SAMPLE)) $(if $(SHEET),sheet="$(SHEET)") $(if $(BATCH),batch=$(BATCH)) $(CHOSEN)

.PHONY: rescore
rescore:  ## Score recorded assessments anew by the rubric and show where the score differs [CHECKPOINTS=files DOMAIN=…]
	@deployments/install.sh light
	@$(BIN)/python -m tasks.show_rescored domain=$(DOMAIN) $(if $(CHECKPOINTS),checkpoints="$(CHECKPOINTS)")

.PHONY: personas
personas:  ## Show the personas of a batch and how they cover the taxonomy [DOMAIN=… COUNT=20]
	@deployments/install.sh light
	@$(BIN)/python -m tasks.show_personas domain=$(DOMAIN) $(if $(COUNT),count=$(COUNT))

.PHONY: check-domain
check-domain:  ## What a domain pack lacks, and each of its prompts as a model reads it [DOMAIN=… PROMPTS=1]
	@deployments/install.sh light
	@$(BIN)/python -m tasks.show_domain domain=$(DOMAIN) $(if $(PROMPTS),prompts=1)

.PHONY: design
design:  ## Draft a domain pack from a brief, and have it reviewed [BRIEF=file DOMAIN=name INSTALL=true OVERWRITE=true SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m flows design brief="$(BRIEF)" domain=$(DOMAIN) $(if $(INSTALL),install=$(INSTALL)) $(if $(OVERWRITE),overwrite=$(OVERWRITE)) $(CHOSEN)

.PHONY: critique
critique:  ## A domain pack reviewed by its experts (experts.yaml), each from their own point of view; changes nothing [DOMAIN=… SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m flows critique domain=$(DOMAIN) $(CHOSEN)

.PHONY: pilot
pilot:  ## Try a pack, or a base before any training, on a few personas, and compare with the rounds before [DOMAIN=… COUNT=5 MODEL=provider/base SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m flows pilot domain=$(DOMAIN) $(if $(COUNT),conversations=$(COUNT)) $(if $(MODEL),model="$(MODEL)") $(CHOSEN)

.PHONY: fidelity
fidelity:  ## How much of the personas shows in a folder of transcripts [DOMAIN=… TRANSCRIPTS=folder SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m tasks.show_fidelity domain=$(DOMAIN) $(if $(TRANSCRIPTS),transcripts="$(TRANSCRIPTS)") $(CHOSEN)

.PHONY: slices
slices:  ## How a folder of transcripts would be cut into examples: how many, how long, what is shortened [TRANSCRIPTS=folder DOMAIN=… SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m tasks.show_slices domain=$(DOMAIN) $(if $(TRANSCRIPTS),transcripts="$(TRANSCRIPTS)") $(CHOSEN)

.PHONY: repair
repair:  ## Mend transcripts that almost passed, and judge them anew [DOMAIN=… BATCH=… SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m flows repair domain=$(DOMAIN) $(if $(BATCH),assessed=$(BATCH)) $(CHOSEN)

.PHONY: dataset
dataset:  ## Make and publish the training set of what passed [DOMAIN=… ASSESSED=batches CHECKPOINTS=files TRANSCRIPTS=folder SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m flows dataset $(filter-out conversations=%,$(PARAMETERS)) $(if $(ASSESSED),assessed="$(ASSESSED)") \
	  $(if $(CHECKPOINTS),checkpoints="$(CHECKPOINTS)") $(CHOSEN)

.PHONY: train
train: setup  ## Train an adapter on the domain's latest dataset, here or on Hugging Face Jobs (jobs.where) [DOMAIN=… SETTINGS=file]
	@$(BIN)/python -m flows training domain=$(DOMAIN) $(CHOSEN)

.PHONY: export
export: setup  ## Merge the latest adapter, convert it to GGUF, and prove the files [DOMAIN=… SETTINGS=file]
	@$(BIN)/python -m flows export domain=$(DOMAIN) $(CHOSEN)

.PHONY: evaluate
evaluate: setup  ## Compare the latest understudy with its base, and with other models [ARMS=name=provider/model,… PERSONAS=file DOMAIN=… SETTINGS=file]
	@$(BIN)/python -m flows evaluation domain=$(DOMAIN) $(if $(ARMS),arms="$(ARMS)") $(if $(PERSONAS),personas="$(PERSONAS)") $(CHOSEN)

.PHONY: chat
chat: setup  ## Talk to the latest understudy in the terminal, or in the browser [DOMAIN=… AGAINST=base or file MODEL=file OPEN=1 SETTINGS=file]
	@$(BIN)/understudy chat --domain $(DOMAIN) $(if $(AGAINST),--against "$(AGAINST)") $(if $(MODEL),--model "$(MODEL)") $(if $(OPEN),--open) \
	  $(if $(SETTINGS),--settings "$(SETTINGS)")

.PHONY: evaluate-recorded
evaluate-recorded:  ## The same statistics on assessments that were recorded elsewhere [DIR=folder TRANSCRIPTS=folder BASE=base DOMAIN=… SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m tasks.show_recorded domain=$(DOMAIN) $(if $(DIR),dir="$(DIR)") $(if $(TRANSCRIPTS),transcripts="$(TRANSCRIPTS)") \
	  $(if $(BASE),base="$(BASE)") $(CHOSEN)

.PHONY: power
power:  ## What evaluations of several sizes can find [PILOT=comparison.json or folder N=personas TRIALS=… SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m tasks.show_power $(if $(PILOT),pilot="$(PILOT)") $(if $(N),personas=$(N)) $(if $(TRIALS),trials=$(TRIALS)) $(CHOSEN)

.PHONY: costs
costs:  ## What a run will cost, by stage, computed from the settings [DOMAIN=… SIZES=10,150,1000 SETTINGS=file WRITE=1: docs/costs.md]
	@deployments/install.sh light
	@$(BIN)/python -m tasks.show_costs domain=$(DOMAIN) $(if $(SIZES),sizes=$(SIZES)) $(if $(WRITE),write=1) $(CHOSEN)

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
	@$(BIN)/python -m tasks.write_rubric domain=$(DOMAIN)

.PHONY: check-models
check-models:  ## Ask each model of the settings one tiny thing: does it answer, how fast, at what price [SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m tasks.check_models domain=$(DOMAIN) $(CHOSEN)

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
	@$(BIN)/python deployments/setup.py deploy $(CHOSEN)

.PHONY: nightly
nightly:  ## A night's batch now: new conversations, and a verdict on all that has none [DOMAIN=… COUNT=… SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m flows nightly $(filter-out transcripts=%,$(PARAMETERS)) $(CHOSEN)

.PHONY: release-candidate
release-candidate: setup  ## From all that passed to an evaluated understudy [DOMAIN=… SETTINGS=file]
	@$(BIN)/python -m flows release domain=$(DOMAIN) $(CHOSEN)

.PHONY: test
test: setup  ## Install what is needed and run the test suite
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
bench-rehearsal:  ## 200 conversations of 3 to 50 exchanges, killed three times, against an uninterrupted run (6 minutes)
	@deployments/install.sh light
	@$(BIN)/python -W ignore bench/rehearsal.py $(COUNT) $(PARTS)

.PHONY: bench-judging
bench-judging:  ## Tokens billed in each mode of judging; a panel killed three times against an uninterrupted one (5 minutes) [TRANSCRIPTS=folder]
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
