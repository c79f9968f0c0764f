module trunkline.dev/tests/cluster/node/programs/probe

go 1.24.0
