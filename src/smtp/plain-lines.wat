;; Looks at text sixteen bytes at a time. scripts/make-plain-lines.mjs makes plain-lines-code.ts of this.
(module
  ;; 256 kB: nobody hands over larger pieces.
  (memory (export "memory") 4)

  ;; Where the first line begins that is not plain, from a line's start on. A line is plain when it ends in
  ;; CRLF before `end`, has no other CR or LF in it, does not begin with a dot, and has at most 1000 bytes.
  (func (export "plainFrom") (param $from i32) (param $end i32) (result i32)
    (local $line i32)   ;; where the line in hand begins
    (local $next i32)   ;; where the one after it does
    (local $at i32)     ;; the block in hand
    (local $block v128)
    (local $cr i32)     ;; a bit for each CR in it
    (local $lf i32)     ;; a bit for each LF in it
    (local $after i32)  ;; 1 if the block before it ended in a CR

    (local.set $line (local.get $from))
    (local.set $at (local.get $from))
    (if (i32.ge_u (local.get $from) (local.get $end)) (then (return (local.get $from))))
    (if (i32.eq (i32.load8_u (local.get $from)) (i32.const 46)) (then (return (local.get $from))))

    (block $done
      (loop $blocks
        (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const 16)) (local.get $end)))
        (local.set $block (v128.load (local.get $at)))

        ;; Most blocks have no control character in them.
        (block $some
          (br_if $some (v128.any_true (i8x16.le_u (local.get $block) (i8x16.splat (i32.const 13)))))
          (br_if $some (local.get $after))
          (local.set $at (i32.add (local.get $at) (i32.const 16)))
          (br $blocks))

        ;; Every LF must follow a CR, and every CR be followed by a LF.
        (local.set $cr (i8x16.bitmask (i8x16.eq (local.get $block) (i8x16.splat (i32.const 13)))))
        (local.set $lf (i8x16.bitmask (i8x16.eq (local.get $block) (i8x16.splat (i32.const 10)))))
        (br_if $done (i32.ne (local.get $lf)
          (i32.and (i32.or (i32.shl (local.get $cr) (i32.const 1)) (local.get $after)) (i32.const 0xffff))))
        (local.set $after (i32.shr_u (local.get $cr) (i32.const 15)))

        ;; One turn for each line that ends in this block.
        (block $ended
          (loop $ends
            (br_if $ended (i32.eqz (local.get $lf)))
            (local.set $next (i32.add (i32.add (local.get $at) (i32.ctz (local.get $lf))) (i32.const 1)))
            (br_if $done (i32.gt_u (i32.sub (local.get $next) (local.get $line)) (i32.const 1000)))
            (local.set $line (local.get $next))
            (br_if $done (i32.ge_u (local.get $next) (local.get $end)))
            (br_if $done (i32.eq (i32.load8_u (local.get $next)) (i32.const 46)))
            (local.set $lf (i32.and (local.get $lf) (i32.sub (local.get $lf) (i32.const 1))))
            (br $ends)))

        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $blocks)))
    (local.get $line)))
