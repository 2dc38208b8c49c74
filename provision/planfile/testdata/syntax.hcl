service = "x"
server "web" {
  timeout = 5m
  image = "debian
}
