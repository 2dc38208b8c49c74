service = "x"
server "web" {
  image = "debian-12"
