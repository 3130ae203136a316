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
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 19

.PHONY: setup
setup:  ## Install everything into .venv [CMAKE_ARGS=…]
	@deployments/install.sh

.PHONY: setup-light
setup-light:  ## Install without torch and llama.cpp: enough to generate and assess
	@deployments/install.sh light

.PHONY: demo
demo: setup  ## Run the whole pipeline without keys [DOMAIN=… COUNT=… TRANSCRIPTS=folder SETTINGS=file]
	@$(UNDERSTUDY) run "$(or $(SETTINGS),demo)" --domain "$(DOMAIN)" $(call option,COUNT,count) $(call option,TRANSCRIPTS,transcripts)

.PHONY: generate
generate:  ## Generate conversations [DOMAIN=… COUNT=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) generate $(COMMON) $(call option,COUNT,count)

.PHONY: assess
assess:  ## Judge the generated conversations, or a folder [DOMAIN=… TRANSCRIPTS=folder CHECKPOINTS=files REPEAT=3 SAMPLE=20 SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) assess $(COMMON) $(call option,TRANSCRIPTS,transcripts) $(call option,CHECKPOINTS,checkpoints) \
	  $(call option,REPEAT,repeat) $(call option,SAMPLE,sample)

.PHONY: review
review:  ## Write a sheet for a person to judge a sample, or compare a filled-in sheet with the judge [SAMPLE=30 or SHEET=file, DOMAIN=… BATCH=… EVALUATION=latest]
	@deployments/install.sh light
	@$(UNDERSTUDY) review --domain "$(DOMAIN)" $(call option,SAMPLE,sample) $(call option,SHEET,sheet) $(call option,BATCH,batch) \
	  $(call option,EVALUATION,evaluation)

.PHONY: rescore
rescore:  ## Compute scores again from recorded answers and show the differences [CHECKPOINTS=files DOMAIN=…]
	@deployments/install.sh light
	@$(UNDERSTUDY) rescore --domain "$(DOMAIN)" $(call option,CHECKPOINTS,checkpoints)

.PHONY: personas
personas:  ## Show the personas of a batch and their coverage of the taxonomy [DOMAIN=… COUNT=20]
	@deployments/install.sh light
	@$(UNDERSTUDY) personas --domain "$(DOMAIN)" $(call option,COUNT,count)

.PHONY: check-domain
check-domain:  ## Check a domain pack, list its gaps, and show its prompts as a model reads them [DOMAIN=… PROMPTS=1]
	@deployments/install.sh light
	@$(UNDERSTUDY) check-domain --domain "$(DOMAIN)" $(call flag,PROMPTS,prompts)

.PHONY: design
design:  ## Draft a domain pack from a brief and have it reviewed [BRIEF=file DOMAIN=name INSTALL=true OVERWRITE=true SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) design $(COMMON) $(call option,BRIEF,brief) $(call flag,INSTALL,install) $(call flag,OVERWRITE,overwrite)

.PHONY: golden
golden:  ## Make golden conversations of a filled-in review sheet [DOMAIN=… SHEET=… BATCH=… TO=folder]
	@deployments/install.sh light
	@$(UNDERSTUDY) golden --domain "$(DOMAIN)" $(call option,SHEET,sheet) $(call option,BATCH,batch) $(call option,TO,to)

.PHONY: calibrate
calibrate:  ## Measure judges against the golden set of a domain pack [DOMAIN=… JUDGES=a,b MODE=single,category REPEAT=2 GOLDEN=folder SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) calibrate $(COMMON) $(call option,JUDGES,judges) $(call option,MODE,mode) $(call option,REPEAT,repeat) $(call option,GOLDEN,golden)

.PHONY: critique
critique:  ## Have the experts of a domain pack (experts.yaml) review it, without changing it [DOMAIN=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) critique $(COMMON)

.PHONY: pilot
pilot:  ## Try a pack, or an untrained base model, on a few personas, and compare with earlier rounds [DOMAIN=… COUNT=5 MODEL=provider/base PROMPT=system,assistant,file SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) pilot $(COMMON) $(call option,COUNT,count) $(call option,MODEL,model) $(call option,PROMPT,prompt)

.PHONY: optimise-prompt
optimise-prompt:  ## Improve a model's system prompt by reflection on failed verdicts [MODEL=provider/base DOMAIN=… FROM=system|assistant|file TO=file SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) optimise-prompt $(COMMON) $(call option,MODEL,model) $(call option,FROM,from) $(call option,TO,to)

.PHONY: fidelity
fidelity:  ## Measure how well simulated users in a folder of transcripts keep to their persona [DOMAIN=… TRANSCRIPTS=folder]
	@deployments/install.sh light
	@$(UNDERSTUDY) fidelity --domain "$(DOMAIN)" $(call option,TRANSCRIPTS,transcripts)

.PHONY: audit
audit:  ## Measure conversations together: likeness, openers, phrases, coverage; default: the pack's recorded ones [DOMAIN=… TRANSCRIPTS=folder TO=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) audit --domain "$(DOMAIN)" $(call option,TRANSCRIPTS,transcripts) $(call option,TO,to)

.PHONY: slices
slices:  ## Preview how a folder of transcripts is cut into examples [TRANSCRIPTS=folder DOMAIN=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) slices $(COMMON) $(call option,TRANSCRIPTS,transcripts)

.PHONY: repair
repair:  ## Repair transcripts that almost passed, and judge them again [DOMAIN=… BATCH=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) repair $(COMMON) $(call option,BATCH,batch)

.PHONY: preferences
preferences:  ## Ask the assistant again where it failed, for pairs of a better and a worse reply [DOMAIN=… BATCH=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) preferences $(COMMON) $(call option,BATCH,batch)

.PHONY: dataset
dataset:  ## Make and publish the training set from the transcripts that passed [DOMAIN=… ASSESSED=batches CHECKPOINTS=files TRANSCRIPTS=folder SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) dataset $(COMMON) $(call option,ASSESSED,assessed) $(call option,CHECKPOINTS,checkpoints) $(call option,TRANSCRIPTS,transcripts)

.PHONY: train
train: setup  ## Train an adapter on the domain's latest dataset, here or on Hugging Face Jobs (jobs.where) [DOMAIN=… SETTINGS=file]
	@$(UNDERSTUDY) train $(COMMON)

.PHONY: export
export: setup  ## Merge the latest adapter, convert it to GGUF, and verify the files [DOMAIN=… SETTINGS=file]
	@$(UNDERSTUDY) export $(COMMON)

.PHONY: evaluate
evaluate: setup  ## Compare the latest understudy with its base, and with other models and prompts [ARMS="name=MODEL under PROMPT,…" PERSONAS=file CONFIRM=true DOMAIN=… SETTINGS=file]
	@$(UNDERSTUDY) evaluate $(COMMON) $(call option,ARMS,arms) $(call option,PERSONAS,personas) $(call flag,CONFIRM,confirm)

.PHONY: chat
chat: setup  ## Talk to the latest understudy in the terminal, or in the browser [DOMAIN=… AGAINST=base MODEL=file OPEN=1 SETTINGS=file]
	@$(UNDERSTUDY) chat $(COMMON) $(call option,AGAINST,against) $(call option,MODEL,model) $(call flag,OPEN,open)

.PHONY: evaluate-recorded
evaluate-recorded:  ## Apply the statistics of the evaluation to assessments recorded elsewhere [FOLDER=assessments TRANSCRIPTS=folder BASE=base DOMAIN=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) evaluate-recorded $(COMMON) $(call option,FOLDER,folder) $(call option,TRANSCRIPTS,transcripts) $(call option,BASE,base)

.PHONY: power
power:  ## Show how often evaluations ship, and what they can detect [PILOT=comparison.json or folder PERSONAS=30 TRIALS=… SETTINGS=file TO=picture.svg DOMAIN=…]
	@deployments/install.sh light
	@$(UNDERSTUDY) power $(COMMON) $(call option,PILOT,pilot) $(call option,PERSONAS,personas) $(call option,TRIALS,trials) $(call option,TO,to)

.PHONY: costs
costs:  ## Estimate the cost of a run, by stage [DOMAIN=… SIZES=10,150,1000 SETTINGS=file TO=file for the whole page]
	@deployments/install.sh light
	@$(UNDERSTUDY) costs $(COMMON) $(call option,SIZES,sizes) $(call option,TO,to)

.PHONY: configuration
configuration:  ## Write docs/configuration.md from the typed settings
	@deployments/install.sh light
	@$(BIN)/python -m flows.terminal.configuration

.PHONY: bench-statistics
bench-statistics:  ## Simulate false positives, coverage, power and the decision of the evaluation, and the statistics of judges (8 minutes)
	@deployments/install.sh light
	@$(BIN)/python -W ignore -m bench.paired_statistics
	@$(BIN)/python -W ignore -m bench.decision_rule
	@$(BIN)/python -W ignore -m bench.judge_statistics
	@$(BIN)/python -W ignore -m bench.forgetting

.PHONY: rubric
rubric:  ## Write docs/rubric.md from the criteria files [DOMAIN=…]
	@deployments/install.sh light
	@$(UNDERSTUDY) rubric --domain "$(DOMAIN)" --to docs/rubric.md

.PHONY: check-models
check-models:  ## Call each model of the settings once and show latency, limits and price [DOMAIN=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) check-models $(COMMON)

.PHONY: blocks
blocks:  ## Register the block types with a running Prefect server [PREFECT_API_URL=…]
	@deployments/install.sh light
	@$(BIN)/python deployments/setup.py blocks

.PHONY: ui
ui:  ## Start a Prefect server with deployments, a worker and the studio, until Ctrl-C [PORT=4200]
	@deployments/install.sh light
	@$(UNDERSTUDY) ui $(call option,PORT,port)

.PHONY: studio
studio:  ## Show conversations, verdicts and results in the browser, live too [PORT=4210]
	@deployments/install.sh light
	@$(UNDERSTUDY) studio $(call option,PORT,port)

.PHONY: deploy
deploy:  ## Create or update work pool, limits, blocks, automations and deployments on a running server [PREFECT_API_URL=… SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python deployments/setup.py deploy $(call option,SETTINGS,settings)

.PHONY: nightly
nightly:  ## Run a nightly batch now: new conversations, and assessments of all that have none [DOMAIN=… COUNT=… SETTINGS=file]
	@deployments/install.sh light
	@$(UNDERSTUDY) nightly $(COMMON) $(call option,COUNT,count)

.PHONY: improve
improve: setup  ## Have a teacher correct what the latest understudy fails, and train the next one, in rounds [DOMAIN=… ROUNDS=2 LIST=true SETTINGS=file]
	@$(UNDERSTUDY) improve $(COMMON) $(call option,ROUNDS,rounds) $(call flag,LIST,list)

.PHONY: release-candidate
release-candidate: setup  ## Dataset, training, export and evaluation from all transcripts that passed [DOMAIN=… SETTINGS=file]
	@$(UNDERSTUDY) release $(COMMON)

.PHONY: test
test: setup  ## Run the test suite [TESTS=paths]
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations 20 $(TESTS)

.PHONY: test-fast
test-fast:  ## Run the quick tests of core, with fewer examples of each property (half a minute)
	@deployments/install.sh light
	@$(BIN)/python -m pytest -q -n auto -m "not slow and not e2e" --hypothesis-profile=fast tests/core

.PHONY: kill-test
kill-test: setup  ## Kill the pipeline in every stage, resume it, compare with an uninterrupted run (5 minutes)
	@$(BIN)/python -m bench.kill

.PHONY: bench-pacing
bench-pacing:  ## Simulate how rate limits are found, compared with AIMD (1 minute)
	@$(BIN)/python -W ignore -m bench.pacing

.PHONY: bench-llm
bench-llm:  ## Compare calls with the bare SDKs: speed, CPU, limits, billed tokens (15 minutes) [PARTS=…]
	@deployments/install.sh light
	@$(BIN)/python -W ignore -m bench.llm $(PARTS)

.PHONY: bench-rehearsal
bench-rehearsal:  ## Kill a batch of 200 conversations three times, compare with an uninterrupted run (6 minutes) [COUNT=… PARTS=…]
	@deployments/install.sh light
	@$(BIN)/python -W ignore -m bench.rehearsal $(COUNT) $(PARTS)

.PHONY: bench-judging
bench-judging:  ## Measure billed tokens of each judging mode; kill a panel three times (5 minutes) [PARTS=… TRANSCRIPTS=folder]
	@deployments/install.sh light
	@$(BIN)/python -W ignore -m bench.judging $(PARTS) $(if $(TRANSCRIPTS),transcripts="$(TRANSCRIPTS)")

.PHONY: bench-slicing
bench-slicing:  ## Measure time and memory of slicing (1 minute) [TRANSCRIPTS=folder]
	@deployments/install.sh light
	@$(BIN)/python -W ignore -m bench.slicing $(if $(TRANSCRIPTS),transcripts="$(TRANSCRIPTS)")

.PHONY: bench-training
bench-training:  ## On a GPU: compare memory and speed of QLoRA with the estimate (10 minutes) [PARTS=…]
	@$(BIN)/python -m bench.training_memory $(PARTS)

.PHONY: bench-scale
bench-scale:  ## Measure batches with 1, 2 and 4 workers on PostgreSQL, with faults (40 minutes) [PARTS="workers faults growth" COUNT=2000]
	@deployments/install.sh light
	@$(BIN)/python -W ignore -m bench.scale $(PARTS) $(if $(COUNT),conversations=$(COUNT))

.PHONY: dress-rehearsal
dress-rehearsal: setup  ## Play the whole product with a real small model in every role, and record all its messages (77 minutes) [COUNT=10 MODEL=file or openai-compatible/name]
	@$(BIN)/python -W ignore -m bench.dress_rehearsal $(if $(COUNT),count=$(COUNT)) $(if $(MODEL),model="$(MODEL)")

.PHONY: bench-served
bench-served:  ## Compare conversations with two served GGUFs of a billion weights with llama.cpp by itself (8 minutes) [MODELS="base.gguf understudy.gguf"]
	@deployments/install.sh
	@$(BIN)/python -W ignore -m bench.served $(MODELS)

.PHONY: bench-nights
bench-nights:  ## Measure how a night finds what is not judged yet on an object store (10 minutes) [COUNT=20000]
	@deployments/install.sh light
	@$(BIN)/python -W ignore -m bench.nights $(if $(COUNT),conversations=$(COUNT))

.PHONY: bench-commands
bench-commands:  ## Measure the start of commands, refusals, and results that exist, through Prefect and from a receipt (10 minutes) [SETTINGS=file]
	@deployments/install.sh light
	@$(BIN)/python -m bench.commands $(SETTINGS)

.PHONY: check
check: setup  ## Check format, lint, types, import rules and job scripts
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/ty check && $(BIN)/lint-imports && $(BIN)/python deployments/jobs/build.py --check

.PHONY: docs
docs:  ## Build the documentation as a site: open data/site/index.html
	@deployments/install.sh light
	@$(BIN)/uv run --frozen --isolated --only-group docs zensical build --strict

.PHONY: clean
clean:  ## Remove data, Prefect's database and caches (not .venv, not the download cache)
	@rm -rf data .prefect .cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
