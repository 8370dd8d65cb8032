# U-Boot boot script for an A/B system managed by slotmgr. `mkimage -T script -C none -d uboot-boot.cmd boot.scr`
#
#   BOOT_ORDER    the slots that may be started, in that order       "A B"
#   BOOT_x_LEFT   tries left; one hexadecimal digit
#   BOOT_x_GOOD   1: confirmed, started without counting or saving
#
# U-Boot must load and save its environment itself (saveenv), in two copies or in one of 512 bytes.
# From 10 on a count (RAUC writes it in hexadecimal) continues with 9.
# No setexpr and no arithmetic: some builds have neither.

# --- for the integrator: partitions, kernel, command line ------------------------------------------
# panic=1: a kernel that panics must restart, or no try is counted.
setenv sm_try 'load ${devtype} ${devnum}:${sm_part} ${kernel_addr_r} /boot/Image && load ${devtype} ${devnum}:${sm_part} ${fdt_addr_r} /boot/board.dtb && setenv bootargs "root=PARTLABEL=rootfs.${sm_slot} rauc.slot=${sm_slot} rootwait ro panic=1" && booti ${kernel_addr_r} - ${fdt_addr_r}'
setenv sm_part_A 2
setenv sm_part_B 3
# --- end of the part for the integrator ------------------------------------------------------------

# A try is saved before it is used; what cannot be saved must wait for the last resort.
test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"

for s in ${BOOT_ORDER}; do
  setenv sm_slot
  if test "${s}" = A; then
    setenv sm_slot A; setenv sm_part ${sm_part_A}; setenv sm_left "${BOOT_A_LEFT}"; setenv sm_good "${BOOT_A_GOOD}"
  elif test "${s}" = B; then
    setenv sm_slot B; setenv sm_part ${sm_part_B}; setenv sm_left "${BOOT_B_LEFT}"; setenv sm_good "${BOOT_B_GOOD}"
  fi
  setenv sm_next
  if test "${sm_left}" = 1; then setenv sm_next 0
  elif test "${sm_left}" = 2; then setenv sm_next 1
  elif test "${sm_left}" = 3; then setenv sm_next 2
  elif test "${sm_left}" = 4; then setenv sm_next 3
  elif test "${sm_left}" = 5; then setenv sm_next 4
  elif test "${sm_left}" = 6; then setenv sm_next 5
  elif test "${sm_left}" = 7; then setenv sm_next 6
  elif test "${sm_left}" = 8; then setenv sm_next 7
  elif test "${sm_left}" = 9; then setenv sm_next 8
  elif test "${sm_left}" = a || test "${sm_left}" = b || test "${sm_left}" = c; then setenv sm_next 9
  elif test "${sm_left}" = d || test "${sm_left}" = e || test "${sm_left}" = f; then setenv sm_next 9
  fi
  if test -n "${sm_slot}" && test -n "${sm_next}"; then
    if test "${sm_good}" = 1; then
      echo "slotmgr-uboot: slot ${sm_slot}, confirmed"
      run sm_try
    else
      setenv BOOT_${sm_slot}_LEFT ${sm_next}
      if saveenv; then
        echo "slotmgr-uboot: slot ${sm_slot}, tries left ${sm_next}"
        run sm_try
      else
        echo "slotmgr-uboot: slot ${sm_slot}, its try cannot be saved"
      fi
    fi
    echo "slotmgr-uboot: slot ${sm_slot} does not load"
  fi
done

# The last resort: confirmed slots first, then all.
if test "${BOOT_A_GOOD}" = 1; then setenv sm_slot A; setenv sm_part ${sm_part_A}; run sm_try; fi
if test "${BOOT_B_GOOD}" = 1; then setenv sm_slot B; setenv sm_part ${sm_part_B}; run sm_try; fi
setenv sm_slot A; setenv sm_part ${sm_part_A}; run sm_try
setenv sm_slot B; setenv sm_part ${sm_part_B}; run sm_try
echo "slotmgr-uboot: no slot can be started; the machine restarts in 10 seconds"
sleep 10
reset
