package sandbox

import (
	"maps"
	"net/http"
	"slices"
)

func metadataShow(k *call) (int, any) {
	if s := k.server(); s != nil {
		return 200, obj{"metadata": k.serverView(s)["metadata"]}
	}
	return k.noServer()
}

// metadataSet replaces all items with PUT and adds to them with POST.
func metadataSet(k *call) (int, any) {
	s := k.server()
	if s == nil {
		return k.noServer()
	}
	var in struct{ Metadata map[string]string }
	if k.decode(&in) != nil || in.Metadata == nil || badMetadata(in.Metadata) != "" {
		return k.malformed()
	}
	next := map[string]string{}
	if k.Method == "POST" {
		maps.Copy(next, s.metadata)
	}
	maps.Copy(next, in.Metadata)
	s.metadata = next
	return 200, obj{"metadata": next}
}

func metadataDelete(k *call) (int, any) {
	s := k.server()
	if s == nil {
		return k.noServer()
	}
	if _, ok := s.metadata[k.vars["key"]]; !ok {
		return k.err(404, "Metadata item was not found")
	}
	s.metadata = maps.Clone(s.metadata)
	delete(s.metadata, k.vars["key"])
	return 204, nil
}

// tagged finds the server for a call about tags, which exist since 2.26.
func (k *call) tagged() (*server, int, any) {
	if k.micro < 26 {
		status, val := k.err(404, "The resource could not be found.")
		return nil, status, val
	}
	if s := k.server(); s != nil {
		return s, 0, nil
	}
	status, val := k.noServer()
	return nil, status, val
}

func tagsShow(k *call) (int, any) {
	s, status, val := k.tagged()
	if s == nil {
		return status, val
	}
	return 200, obj{"tags": append([]string{}, s.tags...)}
}

func tagsSet(k *call) (int, any) {
	s, status, val := k.tagged()
	if s == nil {
		return status, val
	}
	if k.Method == http.MethodDelete {
		s.tags = nil
		return 204, nil
	}
	var in struct{ Tags []string }
	if k.decode(&in) != nil || len(in.Tags) > 50 || slices.ContainsFunc(in.Tags, badTag) {
		return k.malformed()
	}
	s.tags = in.Tags
	return 200, obj{"tags": s.tags}
}

func tagShow(k *call) (int, any) {
	s, status, val := k.tagged()
	if s == nil {
		return status, val
	}
	if !slices.Contains(s.tags, k.vars["tag"]) {
		return k.err(404, "Server %s has no tag '%s'", s.id, k.vars["tag"])
	}
	return 204, nil
}

func tagAdd(k *call) (int, any) {
	s, status, val := k.tagged()
	if s == nil {
		return status, val
	}
	t := k.vars["tag"]
	switch {
	case badTag(t):
		return k.err(400, "Tag '%s' is invalid. It must be a non empty string without characters '/' and ','", t)
	case slices.Contains(s.tags, t):
		return 204, nil
	case len(s.tags) >= 50:
		return k.err(400, "The number of tags exceeded the per-server limit 50")
	}
	s.tags = append(slices.Clone(s.tags), t)
	return 201, nil
}

func tagDelete(k *call) (int, any) {
	s, status, val := k.tagged()
	if s == nil {
		return status, val
	}
	i := slices.Index(s.tags, k.vars["tag"])
	if i < 0 {
		return k.err(404, "Server %s has no tag '%s'", s.id, k.vars["tag"])
	}
	s.tags = slices.Delete(slices.Clone(s.tags), i, i+1)
	return 204, nil
}
