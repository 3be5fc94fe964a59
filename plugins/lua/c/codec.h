#ifndef TENTERHOOK_CODEC_H
#define TENTERHOOK_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "lua.h"

/* As in src/codec.rs. Numbers are 64-bit floats, counts are 32-bit integers, both in the byte order of the machine. */
enum { TAG_NIL, TAG_FALSE, TAG_TRUE, TAG_NUMBER, TAG_TEXT, TAG_TABLE, TAG_NULL, TAG_OTHER, TAG_KEPT };

/* Nothing larger leaves Lua: twice the longest answer that the host takes. */
#define BYTES_MAX ((size_t)8 << 20)

/* A growing buffer outside of Lua's memory. */
typedef struct Bytes {
  uint8_t *at;
  size_t len, room;
} Bytes;

/* Appends the value at this positive stack index. */
void codec_encode(lua_State *L, Bytes *out, int index);
/* Pushes `count` values. */
void codec_decode(lua_State *L, const uint8_t *bytes, size_t len, uint32_t count);

#endif
