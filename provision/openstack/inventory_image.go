package openstack

import (
	"context"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
)

// image is glance's.
type image struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Status  string `json:"status"`
	MinDisk int    `json:"min_disk"`
	MinRAM  int    `json:"min_ram"`
	Size    int64  `json:"size"`
	Arch    string `json:"architecture"`
	HWArch  string `json:"hw_architecture"`
	Classes string `json:"flavor_classes"`
	Created string `json:"created_at"`
}

func (i image) noun() provision.Image {
	at, _ := time.Parse(time.RFC3339, i.Created)
	return provision.Image{ID: i.ID, Name: i.Name, Status: i.Status, MinDiskGB: i.MinDisk, MinRAMMB: i.MinRAM,
		SizeBytes: i.Size, Architecture: first(i.Arch, i.HWArch), Classes: i.Classes, Created: at}
}

// images reads the candidates of each wish once, however many blocks have it. All patterns share one list.
func (r *reader) images(ctx context.Context, q Query) {
	r.inv.Images = map[string][]provision.Image{}
	names := map[string][]string{} // wish by name to blocks
	patterns := map[string][]string{}
	for _, s := range q.Servers {
		switch w := s.Image; {
		case w.Pattern != "":
			patterns[w.Pattern] = append(patterns[w.Pattern], s.Name)
		case w.Name != "":
			names[w.Name] = append(names[w.Name], s.Name)
		}
	}
	keep := func(list []image, blocks []string, fits func(image) bool) func(*provision.Inventory) {
		found := []provision.Image{}
		for _, i := range list {
			if fits(i) {
				found = append(found, i.noun())
			}
		}
		// One that is still being saved must not hide the newest that can be used.
		slices.SortStableFunc(found, func(a, b provision.Image) int {
			if d := boolCompare(a.Status != "active", b.Status != "active"); d != 0 {
				return d
			}
			return b.Created.Compare(a.Created)
		})
		return func(i *provision.Inventory) {
			for _, b := range blocks {
				i.Images[b] = found
			}
		}
	}
	for name, blocks := range names {
		r.read(ctx, "image", "image "+name, func(ctx context.Context) (func(*provision.Inventory), error) {
			list, err := r.c.imagesNamed(ctx, name)
			return keep(list, blocks, func(image) bool { return true }), err
		})
	}
	if len(patterns) == 0 {
		return
	}
	r.read(ctx, "image", "images", func(ctx context.Context) (func(*provision.Inventory), error) {
		s, err := r.c.service(ctx, "image")
		if err != nil {
			return nil, err
		}
		list, err := listImages(ctx, s)
		return func(i *provision.Inventory) {
			for p, blocks := range patterns {
				keep(list, blocks, func(x image) bool { ok, _ := path.Match(p, x.Name); return ok })(i)
			}
		}, err
	})
}

var uuid = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$`)
})

func (c *Cloud) imagesNamed(ctx context.Context, name string) ([]image, error) {
	s, err := c.service(ctx, "image")
	if err != nil {
		return nil, err
	}
	if uuid().MatchString(name) {
		var one image
		none, err := s.missing(ctx, "read image "+name, s.url("images/"+url.PathEscape(name)), &one)
		if err != nil || !none {
			return []image{one}, err
		}
	}
	return listImages(ctx, s, "name", name)
}

// listImages follows glance's next, of which only the query is used: the host in it is not always reachable.
func listImages(ctx context.Context, s service, filter ...string) ([]image, error) {
	var all []image
	q := query(append([]string{"limit", "1000", "sort_key", "created_at", "sort_dir", "desc"}, filter...)...)
	for {
		var page struct {
			Images []image `json:"images"`
			Next   string  `json:"next"`
		}
		if err := s.get(ctx, "list images", s.url("images"+q), &page); err != nil {
			return nil, err
		}
		all = append(all, page.Images...)
		_, rest, ok := strings.Cut(page.Next, "?")
		if !ok || len(page.Images) == 0 || "?"+rest == q {
			return all, nil
		}
		q = "?" + rest
	}
}
