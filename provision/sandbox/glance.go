package sandbox

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

var glanceRoutes = []route{
	on("!GET /", func(k *call) (int, any) { return 300, glanceVersions(k) }),
	on("!GET /versions", func(k *call) (int, any) { return 200, glanceVersions(k) }),
	on("GET /v2/images", imageList),
	on("GET /v2/images/{id}", func(k *call) (int, any) {
		if im := k.c.imageByID(k.region, k.vars["id"]); im != nil {
			return 200, k.imageView(im)
		}
		return k.err(404, "No image found with ID %s", k.vars["id"])
	}),
}

// glanceError is webob's page: glance's errors are no JSON.
func glanceError(k *call, status int, msg string) any {
	k.header.Set("Content-Type", "text/html; charset=UTF-8")
	return rawBody(fmt.Sprintf("<html>\n <head>\n  <title>%d %s</title>\n </head>\n <body>\n  <h1>%[1]d %[2]s</h1>\n  %[3]s<br /><br />\n\n\n </body>\n</html>", status, statusTitle(status), msg))
}

func glanceVersions(k *call) any {
	list := []obj{}
	for i := 15; i >= 0; i-- {
		if i > 9 && i < 15 {
			continue
		}
		status := "SUPPORTED"
		if i == 15 {
			status = "CURRENT"
		}
		list = append(list, obj{"id": fmt.Sprintf("v2.%d", i), "status": status,
			"links": []obj{{"rel": "self", "href": k.self("/v2/")}}})
	}
	return obj{"versions": list}
}

func (c *Cloud) imageByID(region, id string) *image {
	for _, im := range c.regions[region].images {
		if im.id == id {
			return im
		}
	}
	return nil
}

func (k *call) imageView(im *image) obj {
	sum := sha512.Sum512([]byte(im.id))
	distro, version, _ := strings.Cut(im.Name, "-")
	at := stamp(im.Created)
	o := obj{
		"id": im.id, "name": im.Name, "status": "active", "visibility": "public", "protected": false,
		"os_hidden": false, "container_format": "bare", "disk_format": "qcow2", "size": 512 << 20,
		"virtual_size": 2 << 30, "min_disk": im.MinDiskGB, "min_ram": im.MinRAMMB, "owner": k.c.project,
		"checksum": hex.EncodeToString(sum[:16]), "os_hash_algo": "sha512", "os_hash_value": hex.EncodeToString(sum[:]),
		"architecture": im.Arch, "os_distro": distro, "os_version": version, "os_type": "linux",
		"os_admin_user": im.DefaultUser, "tags": []string{}, "created_at": at, "updated_at": at,
		"self": "/v2/images/" + im.id, "file": "/v2/images/" + im.id + "/file", "schema": "/v2/schemas/image",
	}
	if im.Classes != "" {
		o["flavor_classes"] = im.Classes
	}
	return o
}

// imageList knows the filters id, name (exact, or in:a,b), status, visibility,
// architecture and os_distro, and sort_key/sort_dir or sort=key:dir.
func imageList(k *call) (int, any) {
	q := k.URL.Query()
	var list []*image
	for _, im := range k.c.regions[k.region].images {
		v := k.imageView(im)
		ok := true
		for _, f := range []string{"id", "name", "status", "visibility", "owner", "architecture", "os_distro", "os_version"} {
			if want := q.Get(f); want != "" {
				if set, in := strings.CutPrefix(want, "in:"); in {
					ok = ok && slices.Contains(strings.Split(set, ","), fmt.Sprint(v[f]))
				} else {
					ok = ok && fmt.Sprint(v[f]) == want
				}
			}
		}
		if ok {
			list = append(list, im)
		}
	}
	key, dir := q.Get("sort_key"), q.Get("sort_dir")
	if s := q.Get("sort"); s != "" {
		first, _, _ := strings.Cut(s, ",")
		key, dir, _ = strings.Cut(first, ":")
	}
	if key == "" {
		key = "created_at"
	}
	if len(list) > 0 && k.imageView(list[0])[key] == nil {
		return k.err(400, "Invalid sort key: %s.", key)
	}
	slices.SortStableFunc(list, func(a, b *image) int {
		x := strings.Compare(fmt.Sprint(k.imageView(a)[key]), fmt.Sprint(k.imageView(b)[key]))
		if dir != "asc" { // glance sorts downwards unless told otherwise
			x = -x
		}
		return x
	})
	part, more, ok := page(k, list, func(im *image) string { return im.id })
	if !ok {
		return k.err(400, "Invalid marker")
	}
	views := []obj{}
	for _, im := range part {
		views = append(views, k.imageView(im))
	}
	first := "/v2/images"
	q.Del("marker")
	if len(q) > 0 {
		first += "?" + q.Encode()
	}
	out := obj{"images": views, "schema": "/v2/schemas/images", "first": first}
	if more {
		out["next"] = k.next(part[len(part)-1].id)
	}
	return 200, out
}
