// Package snapshots is the service qdrant.Snapshots. None of its methods is
// built yet: package expose says so, method by method.
package snapshots

import "github.com/pandodb/pando/gen/go/qdrant"

// Service implements qdrant.SnapshotsServer.
type Service struct {
	qdrant.UnimplementedSnapshotsServer
}

// New makes the service.
func New() *Service { return &Service{} }
