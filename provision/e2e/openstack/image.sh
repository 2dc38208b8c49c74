#!/bin/bash
# Build a small bootable Debian 12: cloud-init, sshd, haproxy. The result is disk.qcow2, vmlinuz and initrd in
# $RIG_CACHE/image; nova boots them with the image properties kernel_id and ramdisk_id, so no boot loader (and no
# loop device) is needed.
set -euo pipefail
. "$(dirname "$0")/env.sh"
OUT=$RIG_CACHE/image R=$RIG_CACHE/image/root
[ ! -s "$OUT/disk.qcow2" ] || { echo "image: $OUT is there"; exit 0; }
rm -rf "$OUT"; mkdir -p "$OUT" "$RIG_CACHE/debs"
debootstrap --cache-dir="$RIG_CACHE/debs" --variant=minbase --include=systemd-sysv,udev,dbus,iproute2,ifupdown,netbase,openssh-server,cloud-init,haproxy,ca-certificates,linux-image-cloud-amd64,sudo,python3-yaml,python3-cffi-backend \
    bookworm "$R" ${RIG_MIRROR:+"$RIG_MIRROR"}
echo 'server' >"$R/etc/hostname"
echo '/dev/vda / ext4 errors=remount-ro 0 1' >"$R/etc/fstab"
# Only what a test needs: RSA host keys and Debian's package modules cost half a minute under emulation.
cat >"$R/etc/cloud/cloud.cfg.d/90_rig.cfg" <<'E'
datasource_list: [ ConfigDrive, None ]
manage_etc_hosts: true
ssh_genkeytypes: [ ed25519, ecdsa ]
cloud_config_modules: [ ssh-import-id, runcmd ]
cloud_final_modules: [ scripts-per-once, scripts-per-instance, scripts-user, ssh-authkey-fingerprints, keys-to-console, final-message ]
E
# Fresh host keys on every server: cloud-init makes them and prints them.
rm -f "$R"/etc/ssh/ssh_host_*
ln -sf /dev/null "$R/etc/systemd/system/apt-daily.timer"
for u in apt-daily-upgrade.timer e2scrub_reap.service e2scrub_all.timer systemd-binfmt.service man-db.timer; do
    ln -sf /dev/null "$R/etc/systemd/system/$u"
done
printf '\nvirtio_blk\nvirtio_pci\nvirtio_net\nisofs\nsr_mod\next4\n' >>"$R/etc/initramfs-tools/modules"
sed -i 's/^MODULES=.*/MODULES=list/' "$R/etc/initramfs-tools/initramfs.conf"
# A mount namespace of its own: the mount ends with it, whatever happens.
unshare -m sh -ec 'mount -t proc proc "$1/proc"; chroot "$1" update-initramfs -u -k all' sh "$R"
rm -rf "$R"/var/cache/apt/archives/*.deb "$R"/var/lib/apt/lists/* "$R"/usr/share/doc/* "$R"/usr/share/man/* "$R"/usr/share/locale/*
cp "$R"/boot/vmlinuz-* "$OUT/vmlinuz"; cp "$R"/boot/initrd.img-* "$OUT/initrd"
rm -f "$R"/boot/initrd.img-*
truncate -s 1500M "$OUT/disk.raw"
mkfs.ext4 -q -F -L root -d "$R" "$OUT/disk.raw"
qemu-img convert -O qcow2 "$OUT/disk.raw" "$OUT/disk.qcow2.tmp"
rm -rf "$R" "$OUT/disk.raw"; mv "$OUT/disk.qcow2.tmp" "$OUT/disk.qcow2"
ls -l "$OUT"
