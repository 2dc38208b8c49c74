# Three mistakes, each on a line of its own.
service = "dripstat"
regions = ["ORD"]

cloud "main" {
  openstack {
    cloud = "mycloud"
  }
}

server "collector" {
  cloud  = cloud.mian
  image  = "debian-12"
  flavor = "m1.4xlarge"
  cuont  = 2
  open   = ["443 from any"]
}
