#!/bin/sh
# First process of the guest: CAN interfaces vcan0 (CAN FD), then the program, then the end of the world.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONPATH="$PROJECT/src" PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
modules=/usr/lib/uml/modules/$(uname -r)/kernel
for module in net/can/can net/can/can-raw drivers/net/can/dev/can-dev drivers/net/can/vcan drivers/net/can/slcan/slcan; do
    insmod "$modules/$module.ko" || echo "no module $module"
done
ip link set lo up
ip link add dev vcan0 type vcan
ip link set vcan0 mtu 72 up
cd "$PROJECT" || exit
sh -c "$PROGRAM"
echo "status $?"
exec python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)'
