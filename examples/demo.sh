# One script on every backend of openmem.toml, then the conformance suite on each; see `make demo`.
set -eu

for profile in memory sqlite postgres qdrant edge; do
    OPENMEM_PROFILE=$profile "$BIN/python" examples/agent.py
done

"$BIN/openmem" conformance run --report out/conformance \
    memory:// \
    sqlite:///out/conformance.db \
    "$POSTGRES_URL&db_schema=conformance" \
    qdrant+local:///out/conformance-qdrant \
    qdrant+edge:///out/conformance-edge \
    >out/conformance.json
cat out/conformance/matrix.md
