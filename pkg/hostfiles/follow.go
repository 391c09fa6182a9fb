package hostfiles

import (
	"io/fs"
	"path"
	"strings"
)

// Follow returns where an absolute path leads on a host, as far as its symbolic links are seen:
// what is behind a part that is not seen is taken for what it says. The last part is followed
// as well. A path that turns in a circle leads to itself.
func Follow(host fs.FS, name string) string {
	links, ok := host.(fs.ReadLinkFS)
	if !ok {
		return name
	}
	found, followed := "/", 0
	for rest := strings.Trim(path.Clean(name), "/"); rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		next := path.Join(found, part) // It does not lead above the root.
		if next == "/" {
			found = next
			continue
		}
		target, err := links.ReadLink(strings.TrimPrefix(next, "/"))
		if err != nil {
			found = next // It is no link, or not seen.
			continue
		}
		followed++
		if followed > maxLinks {
			return name
		}
		if path.IsAbs(target) {
			found = "/"
		}
		rest = strings.Trim(target+"/"+rest, "/")
	}
	return found
}
