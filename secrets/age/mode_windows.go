package age

import "os"

// handOn: on Windows a file has the permissions of its folder.
func handOn(*os.File, string) {}
