package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/pandodb/pando/services/internal/filled"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a connection that notes what arrives and answers what it was told to.
type recorder struct {
	grpc.ClientConnInterface
	method  string
	request proto.Message
	md      metadata.MD
	ctx     func(context.Context) // looks at the context of a call
	reply   string                // text form of the answer
	fill    *rand.Rand            // makes up answers instead
	err     error
}

func (c *recorder) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	c.method = strings.TrimPrefix(method, "/")
	c.request = proto.Clone(args.(proto.Message))
	c.md, _ = metadata.FromOutgoingContext(ctx)
	if c.ctx != nil {
		c.ctx(ctx)
	}
	if c.err != nil {
		return c.err
	}
	if c.fill != nil {
		filled.Fill(c.fill, reply.(proto.Message).ProtoReflect())
		return nil
	}
	return prototext.Unmarshal([]byte(c.reply), reply.(proto.Message))
}

// show is the stable text form of a message.
func show(m proto.Message) string {
	return regexp.MustCompile(`  +`).ReplaceAllString(prototext.MarshalOptions{}.Format(m), " ")
}

// handler is New, with everything that it answers held to its document.
func handler(t testing.TB, d Deps) http.Handler {
	t.Helper()
	h, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, measured := t.(*testing.B); measured {
		return h
	}
	silent := func() bool {
		c, ok := d.Conn.(*recorder)
		return ok && c.reply == "" && c.fill == nil
	}
	return newContract(t, h, silent)
}

func send(h http.Handler, method, target, body string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		r = httptest.NewRequest(method, target, nil)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`"time":[0-9.e-]+`).ReplaceAllString(string(b), `"time":T`)
}

// TestGolden walks files of requests. A block is
//
//	call
//	PUT /path?query
//	{"the": "body"}
//	reply: prototext of what the service answers
//	----
//	package.Service/Method, the request as received, the status and the body
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			conn := &recorder{}
			var body []string
			lines := strings.Split(d.Input, "\n")
			verb, target, _ := strings.Cut(lines[0], " ")
			for _, line := range lines[1:] {
				if reply, ok := strings.CutPrefix(line, "reply:"); ok {
					conn.reply = reply
				} else {
					body = append(body, line)
				}
			}
			resp := send(handler(t, Deps{Conn: conn}), verb, target, strings.Join(body, "\n"))
			var out strings.Builder
			if conn.method != "" {
				fmt.Fprintf(&out, "%s {%s}\n", conn.method, show(conn.request))
			}
			fmt.Fprintf(&out, "%d %s\n", resp.StatusCode, text(t, resp))
			return out.String()
		})
	})
}

func TestNeedsConnection(t *testing.T) {
	if _, err := New(Deps{}); err == nil {
		t.Error("no connection and no error")
	}
}

var errPlain = errors.New("broken")

// direct is a connection that does nothing.
type direct struct{ grpc.ClientConnInterface }

func (*direct) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return nil }
