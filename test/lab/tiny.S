# The smallest guest that shows that it lives: it ticks on its console as the
# program in guest/ does, about once a second, and sleeps in between. QEMU takes
# it for a Linux kernel and starts its setup code in real mode, where the firmware
# keeps the time. What follows the code is loaded along with it, as a kernel is,
# and fills the guest's memory with what cannot be compressed.

	.code16
	.set	SETUP_SECTORS, 1
	.set	SERIAL, 0x3f8
	.set	BIOS_DATA, 0x40
	.set	BIOS_TICKS, 0x6c	# 18.2 of them a second
	.set	MICROSECONDS, 54925	# in each of them

	# The header of a kernel, protocol 2.0: what QEMU reads of it.
	.org	0x1f1
	.byte	SETUP_SECTORS
	.org	0x1fe
	.word	0xaa55
	.org	0x200
start:	jmp	main
	.ascii	"HdrS"
	.word	0x0200
	.org	0x211
	.byte	1			# loaded high, at 1 MiB
	.org	0x230

main:	mov	%cs, %ax		# 0x200 bytes behind the sector with the header
	sub	$0x20, %ax
	mov	%ax, %ds
	mov	$BIOS_DATA, %ax
	mov	%ax, %es
	sti
	cld
	xor	%edi, %edi		# number of the tick
	xor	%ebp, %ebp		# the firmware's time at the next one
	mov	%edi, %es:BIOS_TICKS	# the time of day ends at midnight

again:	inc	%edi
	mov	$tick, %si
	call	string
	mov	%edi, %eax
	call	number
	mov	$uptime, %si
	call	string
	mov	%es:BIOS_TICKS, %eax
	mov	$MICROSECONDS, %ecx
	mul	%ecx
	mov	$1000000, %ecx
	div	%ecx			# seconds, and microseconds in edx
	push	%edx
	call	number
	mov	$'.', %al
	call	put
	pop	%eax
	xor	%edx, %edx
	mov	$1000, %ecx
	div	%ecx
	add	$1000, %eax		# three digits behind a one, which is not shown
	mov	$1, %bl
	call	digits
	mov	$end, %si
	call	string
	add	$18, %ebp
sleep:	hlt
	cmp	%ebp, %es:BIOS_TICKS
	jb	sleep
	jmp	again

# string prints what is at si up to a zero.
string:	lodsb
	test	%al, %al
	jz	done
	call	put
	jmp	string

# number prints eax in decimal.
number:	xor	%bl, %bl
# digits prints eax in decimal, but for its first bl digits.
digits:	mov	$10, %ecx
	xor	%bh, %bh
1:	xor	%edx, %edx
	div	%ecx
	push	%dx
	inc	%bh
	test	%eax, %eax
	jnz	1b
2:	pop	%ax
	test	%bl, %bl
	jz	3f
	dec	%bl
	jmp	4f
3:	add	$'0', %al
	call	put
4:	dec	%bh
	jnz	2b
done:	ret

# put sends al to the console.
put:	push	%ax
	mov	$SERIAL + 5, %dx
1:	in	%dx, %al
	test	$0x20, %al
	jz	1b
	pop	%ax
	mov	$SERIAL, %dx
	out	%al, %dx
	ret

tick:	.asciz	"tick "
uptime:	.asciz	" uptime "
end:	.asciz	"\r\n"

	.org	0x200 + SETUP_SECTORS * 0x200
