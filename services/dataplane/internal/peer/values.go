package peer

import (
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/document"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/wire"
)

// wantOf reads which parts of a point are asked for.
func wantOf(p *qdrant.WithPayloadSelector, v *qdrant.WithVectorsSelector) query.Want {
	w := query.Want{}
	switch o := p.GetSelectorOptions().(type) {
	case *qdrant.WithPayloadSelector_Enable:
		w.Payload.All = o.Enable
	case *qdrant.WithPayloadSelector_Include:
		w.Payload.Include = each(o.Include.GetFields(), func(s string) filter.Key { return filter.Key(s) })
	case *qdrant.WithPayloadSelector_Exclude:
		w.Payload.All = true
		w.Payload.Exclude = each(o.Exclude.GetFields(), func(s string) filter.Key { return filter.Key(s) })
	}
	switch o := v.GetSelectorOptions().(type) {
	case *qdrant.WithVectorsSelector_Enable:
		w.Vectors = o.Enable
	case *qdrant.WithVectorsSelector_Include:
		w.Vectors = true
		w.VecNames = o.Include.GetNames()
	}
	return w
}

// retrieved prints a record; parts that were not asked for stay unset.
func retrieved(r query.Record, w query.Want) *qdrant.RetrievedPoint {
	p := &qdrant.RetrievedPoint{Id: wire.ProtoID(r.ID)}
	if wanted(w.Payload) {
		p.Payload = document.Fields(r.Payload)
	}
	if w.Vectors {
		p.Vectors = outputOf(r.Vectors)
	}
	if o := r.Order; o != nil && o.IsFloat {
		p.OrderValue = &qdrant.OrderValue{Variant: &qdrant.OrderValue_Float{Float: o.Float}}
	} else if o != nil {
		p.OrderValue = &qdrant.OrderValue{Variant: &qdrant.OrderValue_Int{Int: o.Int}}
	}
	return p
}

func scored(r query.Scored, w query.Want) *qdrant.ScoredPoint {
	p := retrieved(r.Record, w)
	return &qdrant.ScoredPoint{Id: p.GetId(), Payload: p.GetPayload(), Vectors: p.GetVectors(), Score: r.Score, Version: r.Version}
}

func wanted(p query.PayloadWant) bool { return p.All || len(p.Include) > 0 }
