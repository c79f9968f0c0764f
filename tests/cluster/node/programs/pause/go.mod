module trunkline.dev/tests/cluster/node/programs/pause

go 1.24.0
