# U-Boot boot script for an A/B system managed by slotmgr. `mkimage -T script -C none -d uboot-boot.cmd boot.scr`
#
#   BOOT_ORDER    the slots that may be started, in that order       "A B"
#   BOOT_x_LEFT   tries left; one hexadecimal digit
#   BOOT_x_GOOD   1: confirmed, started without counting or saving
#
# From 10 on a count (RAUC writes it in hexadecimal, others in decimal) continues with 9.
# No setexpr and no arithmetic: some builds have neither. What is not saved is a shell variable
# (no setenv), so that saveenv does not store it.

# --- for the integrator: partitions, kernel, command line, environment ------------------------------
# panic=1: a kernel that panics must restart, or no try is counted.
setenv sm_try 'load ${devtype} ${devnum}:${sm_part} ${kernel_addr_r} /boot/Image && load ${devtype} ${devnum}:${sm_part} ${fdt_addr_r} /boot/board.dtb && setenv bootargs "root=PARTLABEL=rootfs.${sm_slot} rauc.slot=${sm_slot} rootwait ro panic=1" && booti ${kernel_addr_r} - ${fdt_addr_r}'
sm_part_A=2
sm_part_B=3
# How a try is saved. saveenv, if U-Boot keeps its environment itself in two copies. Else one sector of
# the disk, which is written as a whole (here the one at 0x8000; in fw_env.config: /dev/vda 0x8000 0x200):
#   setenv sm_vars BOOT_ORDER BOOT_A_LEFT BOOT_A_GOOD BOOT_B_LEFT BOOT_B_GOOD
#   setenv sm_save 'env export -c -s 0x200 ${loadaddr} ${sm_vars} && virtio write ${loadaddr} 0x40 1'
#   virtio read ${loadaddr} 0x40 1 && env import -d -c ${loadaddr} 0x200 ${sm_vars}
setenv sm_save saveenv
# --- end of the part for the integrator ------------------------------------------------------------

# A try is saved before it is used; what cannot be saved must wait for the last resort.
test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"

for s in ${BOOT_ORDER}; do
  sm_slot=
  sm_left=
  sm_good=
  if test "${s}" = A; then
    sm_slot=A; sm_part=${sm_part_A}; sm_left="${BOOT_A_LEFT}"; sm_good="${BOOT_A_GOOD}"
  elif test "${s}" = B; then
    sm_slot=B; sm_part=${sm_part_B}; sm_left="${BOOT_B_LEFT}"; sm_good="${BOOT_B_GOOD}"
  fi
  sm_next=
  if test "${sm_left}" = 1; then sm_next=0
  elif test "${sm_left}" = 2; then sm_next=1
  elif test "${sm_left}" = 3; then sm_next=2
  elif test "${sm_left}" = 4; then sm_next=3
  elif test "${sm_left}" = 5; then sm_next=4
  elif test "${sm_left}" = 6; then sm_next=5
  elif test "${sm_left}" = 7; then sm_next=6
  elif test "${sm_left}" = 8; then sm_next=7
  elif test "${sm_left}" = 9; then sm_next=8
  elif test "${sm_left}" = a || test "${sm_left}" = b || test "${sm_left}" = c; then sm_next=9
  elif test "${sm_left}" = d || test "${sm_left}" = e || test "${sm_left}" = f; then sm_next=9
  elif test -n "${sm_left}" && test "${sm_left}" -gt 9; then sm_next=9
  fi
  if test -n "${sm_slot}" && test -n "${sm_next}"; then
    if test "${sm_good}" = 1; then
      echo "slotmgr-uboot: slot ${sm_slot}, confirmed"
      run sm_try
    else
      setenv BOOT_${sm_slot}_LEFT ${sm_next}
      if run sm_save; then
        echo "slotmgr-uboot: slot ${sm_slot}, tries left ${sm_next}"
        run sm_try
      else
        echo "slotmgr-uboot: slot ${sm_slot}, its try cannot be saved"
      fi
    fi
    echo "slotmgr-uboot: slot ${sm_slot} does not load"
  elif test -n "${sm_slot}"; then
    echo "slotmgr-uboot: slot ${sm_slot} has no tries left"
  fi
done

# The last resort: confirmed slots first, then all.
if test "${BOOT_A_GOOD}" = 1; then sm_slot=A; sm_part=${sm_part_A}; echo "slotmgr-uboot: slot A, once confirmed"; run sm_try; fi
if test "${BOOT_B_GOOD}" = 1; then sm_slot=B; sm_part=${sm_part_B}; echo "slotmgr-uboot: slot B, once confirmed"; run sm_try; fi
sm_slot=A; sm_part=${sm_part_A}; echo "slotmgr-uboot: slot A, as a last resort"; run sm_try
sm_slot=B; sm_part=${sm_part_B}; echo "slotmgr-uboot: slot B, as a last resort"; run sm_try
echo "slotmgr-uboot: no slot can be started; the machine restarts in 10 seconds"
sleep 10
reset
