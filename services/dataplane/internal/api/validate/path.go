package validate

import (
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/fault"
)

// Key checks the path of a payload key by the grammar of package payload.
func Key(path string) error {
	if _, err := payload.ParsePath(path); err != nil {
		return fault.Wrap(fault.Malformed, err, "Invalid json path: %.64q", path)
	}
	return nil
}

// Keys checks several paths.
func Keys(paths []string) error {
	for _, p := range paths {
		if err := Key(p); err != nil {
			return err
		}
	}
	return nil
}
