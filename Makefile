# What people type here. Each target is one script's work; the scripts say more with --help.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

## make demo            watch billing stay true on a throwaway Kubernetes; DEMO_EXIT=1 ends by itself, CLUSTER=current uses yours
demo:
	@hack/demo

## make test            everything that CI checks, but for the demo
test:
	@hack/test

## make e2e             all of it on a real node: the demo, and Trueup installed, upgraded and uninstalled by Helm
e2e:
	@hack/e2e

## make mutations       makes deliberate mistakes in the code, and sees whether the tests notice; ONLY="drop-the-fence" for some
mutations:
	@hack/mutations $(ONLY)

## make chaos           lets everything go wrong in the simulator; TRUEUP_SEEDS=500 says how often by chance, TRUEUP_SEED=1 by which
chaos:
	@hack/chaos

## make fire            kills, stops and cuts off every process hundreds of times, in 15 to 20 minutes; SEED=7 for others, KILLS=40 for fewer
fire:
	@hack/fire

## make bench-ledger    how fast the ledger and the relay are beside bare SQL; BENCH="append lone" for parts of it
bench-ledger:
	@cargo bench --quiet --bench ledger -- $(BENCH)

## make build           the program, into target/debug
build:
	@cargo build

## make lint            formatting, clippy and shellcheck; licences, sources and advisories of all that comes in
lint:
	@hack/test format scripts clippy deny

## make crds            write crds/, and their copies in the chart, anew from the types
crds:
	@cargo run --quiet --bin trueup -- crds --write crds
	@cp crds/*.yaml charts/trueup-crds/files/

## make chart           write values.yaml and its README's table anew from values.schema.json
chart:
	@TRUEUP_WRITE_CHART=1 cargo test --quiet --test chart values::

## make image           build the image from the Dockerfile, without a registry, and print its archive
image:
	@hack/image

## make schemas         write schemas/ anew from the types
schemas:
	@cargo run --quiet --bin trueup -- schemas --write schemas

## make reference       write what the program says of itself into docs/reference/ anew
reference:
	@cargo run --quiet --bin trueup -- reference > docs/reference/cli.md
	@cargo run --quiet --bin trueup -- metrics > docs/reference/metrics.md
	@cargo run --quiet --bin trueup -- crds --reference docs/reference/kinds
	@hack/deny/licences > docs/reference/licences.md

## make book            docs/ as a site, in target/book
book:
	@hack/book/build

## make vectors         write tests/vectors/ anew from what makes them
vectors:
	@TRUEUP_WRITE_VECTORS=1 cargo test --quiet --test schemas the_vectors_in_the_repository

## make clean-clusters  take down every throwaway cluster of yours, whoever started it
clean-clusters:
	@hack/cluster/cluster list
	@hack/cluster/cluster list | awk 'NR > 1 { print $$1 }' | xargs --no-run-if-empty hack/cluster/cluster down

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

.PHONY: demo test e2e mutations chaos fire bench-ledger build image lint crds chart schemas reference book vectors clean-clusters help
