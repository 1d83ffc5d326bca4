package usage

import (
	"os"
	"testing"
)

func TestOf(t *testing.T) {
	before, err := Of(os.Getpid())
	if err != nil || before.RSS < 1 {
		t.Fatalf("%+v %v", before, err)
	}
	for after := before; after.CPU-before.CPU < 0.05; { // ends when the time that is used up is seen
		if after, err = Of(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Of(1 << 30); err == nil {
		t.Error("a process that is not there has used something")
	}
}
