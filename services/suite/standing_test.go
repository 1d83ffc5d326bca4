package suite

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

func TestPlan(t *testing.T) {
	hints, other := []string{"a:6335"}, []string{"b:6335"}
	member := standing{State: belongs, Folder: "f", Cluster: "c", Bootstrap: hints}
	out := standing{State: removed, Folder: "f", Cluster: "c"}
	asked := standing{State: joining, Folder: "f", Bootstrap: hints}
	for _, tc := range []struct {
		name   string
		kept   *standing
		hints  []string
		reinit bool
		want   standing
		join   bool
	}{
		{"the first", nil, nil, false, standing{State: founding, Folder: "r1", Cluster: "r2"}, false},
		{"a joiner", nil, hints, false, standing{State: joining, Folder: "r1", Bootstrap: hints}, true},
		{"founding was cut short", &standing{State: founding, Folder: "f", Cluster: "c"}, nil, false, standing{State: founding, Folder: "f", Cluster: "c"}, false},
		{"a founder is told to join", &standing{State: founding, Folder: "f", Cluster: "c"}, hints, false, standing{State: founding, Folder: "f", Cluster: "c"}, false},
		{"joining was cut short", &asked, nil, false, asked, true},
		{"joining elsewhere", &asked, other, false, standing{State: joining, Folder: "f", Bootstrap: other}, true},
		{"a member", &member, nil, false, member, false},
		{"a member with a hint", &member, other, false, member, false},
		{"taken out", &out, nil, false, out, false},
		{"taken out, with the flags of its first start", &out, hints, false, out, false},
		{"joins anew", &out, hints, true, out, true},
		{"joins another cluster", &member, other, true, member, true},
		{"goes on alone", &member, nil, true, standing{State: founding, Folder: "f", Cluster: "r1", Forget: true}, false},
		{"goes on alone, cut short", &standing{State: founding, Folder: "f", Cluster: "c", Forget: true}, nil, false,
			standing{State: founding, Folder: "f", Cluster: "c", Forget: true}, false},
	} {
		n := 0
		next, join := plan(tc.kept, tc.hints, tc.reinit, func() string { n++; return fmt.Sprint("r", n) })
		if d := cmp.Diff(tc.want, next); d != "" || join != tc.join {
			t.Errorf("%s: join %v, want %v\n%s", tc.name, join, tc.join, d)
		}
	}
}

// TestStandingIsKept: what is written is read alike, and what cannot be is refused with its name.
func TestStandingIsKept(t *testing.T) {
	fsys := memfs.New()
	if s, err := loadStanding(fsys, "/membership.json"); s != nil || err != nil {
		t.Fatalf("of an empty folder: %v, %v", s, err)
	}
	want := standing{Format: standingFormat, State: belongs, Folder: "f", Cluster: "c", Bootstrap: []string{"a:1"}}
	if err := saveStanding(fsys, "/membership.json", want); err != nil {
		t.Fatal(err)
	}
	got, err := loadStanding(fsys, "/membership.json")
	if err != nil || cmp.Diff(want, *got) != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := dropStanding(fsys, "/membership.json"); err != nil {
		t.Fatal(err)
	}
	if s, err := loadStanding(fsys, "/membership.json"); s != nil || err != nil {
		t.Errorf("after it was dropped: %v, %v", s, err)
	}
}

func FuzzStanding(f *testing.F) {
	f.Add([]byte(`{"format":1,"state":"member","folder":"f","cluster":"c"}`))
	f.Add([]byte(`{"format":1,"state":"joining","folder":"f","bootstrap":["a:1"]}`))
	f.Add([]byte(`{"format":2,"state":"member","folder":"f","cluster":"c"}`))
	f.Add([]byte(`{"format":1,"state":"x","folder":"f","cluster":"c"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseStanding("f", data)
		if err != nil {
			if !errors.Is(err, errStanding) {
				t.Fatal(err)
			}
			return
		}
		if s.Folder == "" || (s.Cluster == "") != (s.State == joining) {
			t.Fatalf("accepted %+v", s)
		}
	})
}
