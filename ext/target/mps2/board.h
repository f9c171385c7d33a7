/* What the image needs to know of the MPS2 board with the AN386 image, as QEMU has it. */
#ifndef BMS_TARGET_BOARD_H
#define BMS_TARGET_BOARD_H

#define PSRAM 0x21000000u /* 16 MiB; QEMU's machine memory, which a host process may share */
#define CPACR (*(volatile unsigned int *)0xE000ED88u)
#define BARRIER() __asm volatile("dmb" ::: "memory")

#endif
