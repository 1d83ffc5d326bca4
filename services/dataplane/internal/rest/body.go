package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/klauspost/compress/gzip"
	"google.golang.org/protobuf/proto"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
)

// keepBuffer is up to which size, in bytes, a body's buffer is made in one go and used again.
const keepBuffer = 4 << 20

// body stands in for the request's body on its way through the gateway, which
// hands it to NewDecoder without the request. It is never read as a stream:
// the decoder takes it as a whole.
type body struct {
	io.ReadCloser
	g *gateway
	r *http.Request
	x *exchange
}

// Read ends at once, so that nobody drains a body that is being refused.
func (*body) Read([]byte) (int, error) { return 0, io.EOF }

// Decode fills m from the query and the body. The error is also left in the
// exchange, since the gateway passes on its text alone.
func (b *body) Decode(v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is not a message", v)
	}
	if b.x.fault = b.decode(m); b.x.fault != nil {
		return b.x.fault
	}
	return nil
}

func (b *body) decode(m proto.Message) *fault.Error {
	if b.g.codec.TakesBody(m) {
		buf, _ := b.g.buffers.Get().(*[]byte)
		if buf == nil {
			buf = new([]byte)
		}
		defer func() {
			if cap(*buf) <= 2*keepBuffer {
				b.g.buffers.Put(buf)
			}
		}()
		if f := b.fill(buf); f != nil {
			return f
		}
		if err := b.decodeMessage(*buf, m); err != nil {
			return fault.New(fault.Malformed, "Format error in JSON body: %v", err)
		}
	}
	b.x.emptyPayload = wantsPayload(m)
	return b.g.fold(m, b.r.URL.Query(), nil)
}

// fill reads the whole body, decompressed, up to the limit.
func (b *body) fill(buf *[]byte) *fault.Error {
	limit := b.g.MaxBody
	if b.r.ContentLength > limit {
		b.drain(3 * limit)
		return tooLarge(limit)
	}
	var from io.Reader = b.ReadCloser
	switch enc := b.r.Header.Get("Content-Encoding"); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(from)
		if err != nil {
			return fault.New(fault.Malformed, "Format error in JSON body: not gzip: %v", err)
		}
		from = z
	default:
		return fault.New(fault.Malformed, "Content-Encoding %.40q is not understood, only gzip is", enc)
	}
	to := bytes.NewBuffer((*buf)[:0])
	if n := b.r.ContentLength; n > 0 {
		to.Grow(int(min(n, keepBuffer)) + bytes.MinRead) // beyond that, only what has really come
	}
	n, err := to.ReadFrom(io.LimitReader(from, limit+1))
	*buf = to.Bytes()
	switch {
	case n > limit:
		b.drain(3 * limit)
		return tooLarge(limit)
	case err != nil:
		return fault.New(fault.Malformed, "Format error in JSON body: %v", err)
	}
	return nil
}

// drain reads what a client still sends, so that it comes to see the answer
// and not a broken connection. A client that waits for 100-continue sends nothing yet.
func (b *body) drain(most int64) {
	if b.r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, b.ReadCloser, most) // whatever happens, the answer is the same
	}
}

func tooLarge(limit int64) *fault.Error {
	return fault.New(fault.TooLarge, "Payload reached size limit: a request body may have %d bytes", limit)
}

// wantsPayload tells whether the request asks for the payload of points.
func wantsPayload(m proto.Message) bool {
	switch q := m.(type) {
	case *qdrant.ScrollPoints:
		return q.WithPayload == nil || selects(q.WithPayload)
	case interface {
		GetWithPayload() *qdrant.WithPayloadSelector
	}:
		return selects(q.GetWithPayload())
	case *qdrant.QueryBatchPoints:
		for _, one := range q.GetQueryPoints() {
			if selects(one.GetWithPayload()) {
				return true
			}
		}
	case *qdrant.SearchBatchPoints:
		for _, one := range q.GetSearchPoints() {
			if selects(one.GetWithPayload()) {
				return true
			}
		}
	}
	return false
}

func selects(s *qdrant.WithPayloadSelector) bool {
	return s.GetEnable() || s.GetInclude() != nil || s.GetExclude() != nil
}

// marshaler joins the gateway to the dialect.
type marshaler struct{ g *gateway }

func (marshaler) ContentType(any) string { return "application/json" }

// NewDecoder gets the request's body as set by ServeHTTP.
func (marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	if b, ok := r.(*body); ok {
		return b
	}
	return runtime.DecoderFunc(func(any) error { return errNoStream })
}

// Marshal prints what rewrite made.
func (marshaler) Marshal(v any) ([]byte, error) {
	if a, ok := v.(*answer); ok {
		return a.bytes(), nil
	}
	return nil, fmt.Errorf("%T is not an answer", v)
}

// Unmarshal and NewEncoder are for streams, which REST does not have.
func (marshaler) Unmarshal([]byte, any) error { return errNoStream }

func (marshaler) NewEncoder(io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(any) error { return errNoStream })
}

var errNoStream = errors.New("rest: streams have no REST form")
