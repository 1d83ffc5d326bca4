package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestTable writes the whole table down a second time: a change of an outcome that clients rely on has to be made twice.
func TestTable(t *testing.T) {
	want := map[Reason]row{
		Unspecified:         {codes.Internal, 500},
		CollectionNotFound:  {codes.NotFound, 404},
		CollectionExists:    {codes.AlreadyExists, 409},
		AliasClash:          {codes.InvalidArgument, 400},
		PointNotFound:       {codes.NotFound, 404},
		NotFound:            {codes.NotFound, 404},
		Validation:          {codes.InvalidArgument, 422},
		Malformed:           {codes.InvalidArgument, 400},
		InvalidArgument:     {codes.InvalidArgument, 400},
		VectorNameUnknown:   {codes.InvalidArgument, 400},
		DimensionMismatch:   {codes.InvalidArgument, 400},
		Unauthenticated:     {codes.Unauthenticated, 401},
		Forbidden:           {codes.PermissionDenied, 403},
		NotBuilt:            {codes.Unimplemented, 501},
		NotClustered:        {codes.Unimplemented, 405},
		WriteOutcomeUnknown: {codes.DeadlineExceeded, 408},
		Timeout:             {codes.DeadlineExceeded, 408},
		ShardUnavailable:    {codes.Unavailable, 503},
		StaleEpoch:          {codes.Aborted, 503},
		NotPrimary:          {codes.FailedPrecondition, 503},
		WrongCluster:        {codes.FailedPrecondition, 500},
		JoinRefused:         {codes.FailedPrecondition, 500},
		PeerRemoved:         {codes.FailedPrecondition, 500},
		WrongProcess:        {codes.Unavailable, 503},
		DiskFull:            {codes.ResourceExhausted, 507},
		ReplicaFailed:       {codes.Internal, 500},
		TooLarge:            {codes.ResourceExhausted, 413},
		RateLimited:         {codes.ResourceExhausted, 429},
		StorageCorrupt:      {codes.DataLoss, 500},
		NoLeader:            {codes.Unavailable, 503},
		ShuttingDown:        {codes.Unavailable, 503},
		Detached:            {codes.Unavailable, 503},
	}
	for _, r := range all() {
		w, ok := want[r]
		if !ok {
			t.Errorf("%s has no expected row: add it to the table and here", Name(r))
			continue
		}
		e := New(r, "text")
		if e.Code != w.code || HTTPStatus(e) != w.http {
			t.Errorf("%s: got %s/%d, want %s/%d", Name(r), e.Code, HTTPStatus(e), w.code, w.http)
		}
	}
	if len(want) != len(all()) {
		t.Errorf("%d rows expected, the enum has %d", len(want), len(all()))
	}
}

// TestProtoComments: what reason.proto tells its readers about code and status is what the table does.
func TestProtoComments(t *testing.T) {
	b, err := os.ReadFile("../../../proto/pando/cluster/v1/reason.proto")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`// [^\n]* ([A-Z_]+), (\d+)\.\n  REASON_(\w+) = `).FindAllStringSubmatch(string(b), -1)
	for _, r := range rows {
		var code codes.Code
		if err := code.UnmarshalJSON([]byte(strconv.Quote(r[1]))); err != nil {
			t.Errorf("%s: %v", r[3], err)
		}
		if e := New(parseName(r[3]), ""); Name(e.Reason) != r[3] || e.Code != code || strconv.Itoa(HTTPStatus(e)) != r[2] {
			t.Errorf("%s: the comment says %s, %s; the table %s, %d", r[3], r[1], r[2], e.Code, HTTPStatus(e))
		}
	}
	if len(rows) != len(all()) {
		t.Errorf("%d of %d reasons say what they become", len(rows), len(all()))
	}
}

// TestRoundTrip sends every reason through a gRPC status and back.
func TestRoundTrip(t *testing.T) {
	for _, r := range all() {
		e := New(r, "about %d things", 3).With("shard", "7").With(MetaCollection, "c")
		got := FromStatus(e.GRPCStatus())
		if got.Reason != r || got.Code != e.Code || got.Msg != "about 3 things" {
			t.Errorf("%s came back as %s %s %q", Name(r), Name(got.Reason), got.Code, got.Msg)
		}
		if d := cmp.Diff(map[string]string{"shard": "7", "collection": "c"}, got.Meta); d != "" {
			t.Errorf("%s meta: %s", Name(r), d)
		}
		if HTTPStatus(got) != HTTPStatus(e) {
			t.Errorf("%s: HTTP %d here, %d after the wire", Name(r), HTTPStatus(e), HTTPStatus(got))
		}
	}
}

func TestFrom(t *testing.T) {
	inner := NoCollection("words")
	tests := map[string]struct {
		in     error
		reason Reason
		code   codes.Code
		http   int
		msg    string
	}{
		"itself":               {inner, CollectionNotFound, codes.NotFound, 404, "Not found: Collection `words` doesn't exist!"},
		"wrapped":              {fmt.Errorf("shard 3: %w", inner), CollectionNotFound, codes.NotFound, 404, "shard 3: Not found: Collection `words` doesn't exist!"},
		"status with reason":   {New(NotClustered, "no").GRPCStatus().Err(), NotClustered, codes.Unimplemented, 405, "no"},
		"wrapped status":       {fmt.Errorf("peer 2: %w", New(Detached, "alone").GRPCStatus().Err()), Detached, codes.Unavailable, 503, "alone"},
		"plain status":         {status.Error(codes.Unimplemented, "unknown method"), Unspecified, codes.Unimplemented, 501, "unknown method"},
		"deadline":             {fmt.Errorf("read: %w", context.DeadlineExceeded), Timeout, codes.DeadlineExceeded, 408, "Timeout error: read: context deadline exceeded"},
		"cancel":               {context.Canceled, Unspecified, codes.Canceled, 499, "the caller has gone away"},
		"anything":             {io.ErrUnexpectedEOF, Unspecified, codes.Internal, 500, "Service internal error: unexpected EOF"},
		"bad input":            {BadInput("limit %d", 0), InvalidArgument, codes.InvalidArgument, 400, "Wrong input: limit 0"},
		"missing":              {Missing("qdrant.Points/Facet"), NotBuilt, codes.Unimplemented, 501, "qdrant.Points/Facet is not built yet"},
		"taken":                {CollectionTaken("c"), CollectionExists, codes.AlreadyExists, 409, "Wrong input: Collection `c` already exists!"},
		"code overridden":      {&Error{Reason: NotFound, Code: codes.Unavailable, Msg: "x"}, NotFound, codes.Unavailable, 503, "x"},
		"cause keeps identity": {Wrap(DiskFull, io.ErrShortWrite, "no space"), DiskFull, codes.ResourceExhausted, 507, "no space"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e := From(tc.in)
			if e.Reason != tc.reason || e.Code != tc.code || e.Msg != tc.msg || HTTPStatus(tc.in) != tc.http {
				t.Errorf("got %s %s %d %q", Name(e.Reason), e.Code, HTTPStatus(tc.in), e.Msg)
			}
			if ReasonOf(tc.in) != tc.reason {
				t.Errorf("ReasonOf = %s", Name(ReasonOf(tc.in)))
			}
			if !errors.Is(e, tc.in) {
				t.Error("From lost the chain of causes")
			}
		})
	}
	if From(nil) != nil || FromStatus(status.New(codes.OK, "")) != nil || HTTPStatus(nil) != 200 {
		t.Error("nil is not an error")
	}
}

func TestIsComparesReasons(t *testing.T) {
	err := fmt.Errorf("outer: %w", New(Detached, "alone").With("shard", "1"))
	if !errors.Is(err, New(Detached, "")) || errors.Is(err, New(Timeout, "")) {
		t.Error("errors.Is must go by the reason")
	}
}

func TestWithCopies(t *testing.T) {
	a := New(Timeout, "x").With("k", "1")
	b := a.With("k", "2")
	if a.Meta["k"] != "1" || b.Meta["k"] != "2" {
		t.Errorf("With changed its receiver: %v %v", a.Meta, b.Meta)
	}
}

func TestUnknownReasonOfNewerBuild(t *testing.T) {
	newer := Reason(9999)
	if e := New(newer, "x"); e.Code != codes.Internal || HTTPStatus(e) != 500 {
		t.Errorf("unknown reason: %s %d", e.Code, HTTPStatus(e))
	}
	if parseName("FROM_THE_FUTURE") != Unspecified {
		t.Error("an unknown name must decode to Unspecified")
	}
}

func TestForeignDomainIsIgnored(t *testing.T) {
	e := New(Timeout, "x")
	st := e.GRPCStatus()
	p := st.Proto()
	p.Details[0].Value = []byte{} // an ErrorInfo without our domain
	if got := FromStatus(status.FromProto(p)); got.Reason != Unspecified || got.Code != codes.DeadlineExceeded {
		t.Errorf("got %s %s", Name(got.Reason), got.Code)
	}
}

func TestOnlyCanceled(t *testing.T) {
	c := context.Canceled
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {c, true}, {fmt.Errorf("serving: %w", c), true}, {errors.Join(c, fmt.Errorf("x: %w", c)), true},
		{io.EOF, false}, {errors.Join(c, io.EOF), false}, {fmt.Errorf("x: %w", errors.Join(io.EOF, c)), false},
		{fmt.Errorf("%w, and %w", c, io.EOF), false}, {context.DeadlineExceeded, false},
	} {
		if got := OnlyCanceled(tc.err); got != tc.want {
			t.Errorf("OnlyCanceled(%v) = %v", tc.err, got)
		}
	}
}
