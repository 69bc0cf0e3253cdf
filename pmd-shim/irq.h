/* SPDX-License-Identifier: Apache-2.0 */
/* irq.h - VFIO_DEVICE_GET_IRQ_INFO and SET_IRQS: eventfds for interrupt vectors. */
#ifndef PMD_SHIM_IRQ_H
#define PMD_SHIM_IRQ_H

#include <stdint.h>

struct ioapi_func;
struct vfio_irq_info;

#define IRQ_VECTORS_MAX 2048		/* PCI 3.0 6.8.2.3 */

int vfio_irqs_info(struct ioapi_func *f, struct vfio_irq_info *info);
/* arg as the application gave it. shim_lock held. */
int vfio_irqs_set(struct ioapi_func *f, const void *arg);

#endif
