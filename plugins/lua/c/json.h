/* What the two halves of `cjson` share. */
#ifndef TENTERHOOK_JSON_H
#define TENTERHOOK_JSON_H

#include <stddef.h>

#include "lua.h"

/* The settings of one instance of the module; `cjson.new` makes another. */
typedef struct JsonConfig {
  int sparse_convert, sparse_ratio, sparse_safe;
  int encode_depth, decode_depth;
  int precision;
  /* Whether NaN and infinities are written: 0 no, 1 yes, 2 as null. And whether they, and hexadecimal numbers, are read. */
  int encode_invalid, decode_invalid;
  int empty_as_object, escape_slash, skip_unsupported, mark_arrays;
} JsonConfig;

/* A buffer in Lua's memory: it is collected when an error is raised over it. It lies at `slot` of the stack. */
typedef struct JsonBuffer {
  lua_State *L;
  int slot;
  char *at;
  size_t len, room;
} JsonBuffer;

void json_buffer(JsonBuffer *out, lua_State *L, size_t room);
void json_put(JsonBuffer *out, const char *bytes, size_t len);

/* Their addresses are `cjson.empty_array`, and the registry's keys of the metatables. */
extern const char JSON_EMPTY_ARRAY, JSON_ARRAY_MT, JSON_EMPTY_ARRAY_MT;

/* The value at the top of the stack → a text on the stack, or an error. */
void json_encode(lua_State *L, const JsonConfig *config);
/* A text → a value on the stack, or an error. */
void json_decode(lua_State *L, const JsonConfig *config, const char *text, size_t len);

#endif
