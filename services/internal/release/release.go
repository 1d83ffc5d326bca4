// Package release says which Pando this is. Wire, disk and log versions are numbers of their own, kept where they are
// written and read.
package release

import "runtime/debug"

// Version is our own semantic version: `pando version`, Register.
const Version = "0.1.0"

// API is the version of the public API that GET / and HealthCheck answer; clients compare it with their own.
const API = "1.19.0"

// Title is what GET / and HealthCheck answer; clients compare it literally.
const Title = "qdrant - vector search engine"

// linked is set by the linker (-X) where the build has no repository, as in an image.
var linked string

// Commit is the commit that was built, 40 characters; zeros when nobody knows.
func Commit() string {
	const unknown = "0000000000000000000000000000000000000000"
	if len(linked) == len(unknown) {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) == len(unknown) {
				return s.Value
			}
		}
	}
	return unknown
}
