module github.com/pandodb/pando/services/dataplane/bench

go 1.26.0

require (
	github.com/pandodb/pando/services v0.0.0
	golang.org/x/sys v0.49.0
)

replace (
	github.com/pandodb/pando/gen/go => ../../gen/go
	github.com/pandodb/pando/services => ../../services
)
