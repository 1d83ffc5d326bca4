package rest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract holds what a handler answers, and the bodies that it takes, to the document that it serves.
type contract struct {
	t      testing.TB
	h      http.Handler
	silent func() bool // the service below said nothing, which none of ours does
	*rules
}

// rules are the document, taken apart once for all tests.
type rules struct {
	mu       sync.Mutex // the compiler is not for several goroutines
	compiler *jsonschema.Compiler
	paths    map[string]*regexp.Regexp // by the pointer to the operation, without its verb
	verbs    map[string]map[string]any
}

var documented = sync.OnceValues(func() (*rules, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	doc := v.(map[string]any)
	r := &rules{compiler: jsonschema.NewCompiler(), paths: map[string]*regexp.Regexp{}, verbs: map[string]map[string]any{}}
	for template, operations := range doc["paths"].(map[string]any) {
		pattern := regexp.MustCompile(`\\\{[^}]*\\\}`).ReplaceAllString(regexp.QuoteMeta(template), "[^/]+")
		r.paths[template], r.verbs[template] = regexp.MustCompile("^"+pattern+"$"), operations.(map[string]any)
	}
	return r, r.compiler.AddResource("openapi.json", doc)
})

func newContract(t testing.TB, h http.Handler, silent func() bool) http.Handler {
	t.Helper()
	r, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	return &contract{t: t, h: h, silent: silent, rules: r}
}

func parsed(t testing.TB, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Errorf("no JSON: %v in %.200s", err, text)
	}
	return v
}

func (c *contract) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(asked))
	got := &answered{ResponseWriter: w, status: http.StatusOK}
	verb, path := r.Method, r.URL.EscapedPath()
	c.h.ServeHTTP(got, r)
	if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Content-Encoding") != "" {
		return
	}
	if got.status != http.StatusOK {
		c.holds("#/components/responses/Error/content/application~1json/schema", got.body.Bytes())
		return
	}
	route := c.route(verb, path)
	if route == "" {
		c.t.Errorf("%s %s is answered, and not in the document", verb, path)
		return
	}
	if !c.silent() {
		c.holds(route+"/responses/200/content/application~1json/schema", got.body.Bytes())
	}
	if len(asked) > 0 && r.Header.Get("Content-Encoding") == "" && strings.Contains("PUT POST PATCH", verb) {
		c.holds(route+"/requestBody/content/application~1json/schema", asked)
	}
}

// answered keeps what was written.
type answered struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answered) Write(b []byte) (int, error) {
	a.body.Write(b)
	return a.ResponseWriter.Write(b)
}

func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// route is the pointer to the operation that a path leads to: the one with the most literals.
func (c *contract) route(verb, path string) string {
	best, literals := "", -1
	for template, pattern := range c.paths {
		n := strings.Count(template, "/") - strings.Count(template, "{")
		if c.verbs[template][strings.ToLower(verb)] != nil && n > literals && pattern.MatchString(squeeze(path)) {
			best, literals = template, n
		}
	}
	if literals < 0 {
		return ""
	}
	return "#/paths/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(best)) + "/" + strings.ToLower(verb)
}

func (c *contract) holds(pointer string, text []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	schema, err := c.compiler.Compile("openapi.json" + pointer)
	if err != nil {
		c.t.Errorf("%s: %v", pointer, err)
		return
	}
	if err := schema.Validate(parsed(c.t, text)); err != nil {
		c.t.Errorf("not as the document says: %v\n%.2000s", err, text)
	}
}

// TestServesItsDocument: to anybody, whatever keys there are.
func TestServesItsDocument(t *testing.T) {
	h := handler(t, Deps{Conn: &recorder{}, Admit: func(string) error { return errPlain }})
	if got := text(t, send(h, "GET", "/openapi.json", "")); got != string(document) {
		t.Errorf("got %.100s", got)
	}
	if resp := send(h, "POST", "/openapi.json", ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

// TestContractIsHeld: the checks of all other tests find what is not as the document says.
func TestContractIsHeld(t *testing.T) {
	for answer, good := range map[string]bool{
		`{"result":{"count":1},"status":"ok","time":0.1}`:          true,
		`{"result":{"count":-1},"status":"ok","time":0.1}`:         false,
		`{"result":{"count":1,"n":2},"status":"ok","time":0.1}`:    false,
		`{"result":{"count":1},"status":"ok"}`:                     false,
		`{"result":{"count":1},"status":"ok","time":0.1,"x":null}`: false,
	} {
		found := &quiet{TB: t}
		h := newContract(found, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, answer)
		}), func() bool { return false })
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/collections/c/points/count", strings.NewReader(`{}`)))
		if found.errors == 0 != good {
			t.Errorf("%s: %d complaints", answer, found.errors)
		}
	}
}

// quiet counts errors and reports none.
type quiet struct {
	testing.TB
	errors int
}

func (q *quiet) Errorf(string, ...any) { q.errors++ }
func (q *quiet) Error(...any)          { q.errors++ }
