/* Values as bytes, in both directions: see src/codec.rs for the encoding. Everything here may raise, so it runs in protected mode only. */
#include "codec.h"

#include <stdlib.h>
#include <string.h>

#include "lauxlib.h"

/* Nested deeper than this nothing crosses. Events are bounded far below. */
#define DEPTH_MAX 250

static void reserve(lua_State *L, Bytes *out, size_t more) {
  size_t room;
  uint8_t *grown;
  if (out->len + more <= out->room) return;
  if (more > BYTES_MAX || out->len + more > BYTES_MAX) luaL_error(L, "a value is too large to leave Lua");
  room = out->room < 256 ? 256 : out->room;
  while (room < out->len + more) room *= 2;
  grown = (uint8_t *)realloc(out->at, room);
  if (grown == NULL) luaL_error(L, "not enough memory");
  out->at = grown;
  out->room = room;
}

static void put(lua_State *L, Bytes *out, const void *bytes, size_t len) {
  reserve(L, out, len);
  if (len > 0) memcpy(out->at + out->len, bytes, len);
  out->len += len;
}

static void put_tag(lua_State *L, Bytes *out, uint8_t tag) {
  put(L, out, &tag, 1);
}

static void put_text(lua_State *L, Bytes *out, uint8_t tag, const char *text, size_t len) {
  uint32_t count = (uint32_t)len;
  if (len > BYTES_MAX) luaL_error(L, "a value is too large to leave Lua");
  put_tag(L, out, tag);
  put(L, out, &count, 4);
  put(L, out, text, len);
}

static void encode(lua_State *L, Bytes *out, int index, int depth);

static void encode_table(lua_State *L, Bytes *out, int index, int depth) {
  uint32_t counts[2] = {0, 0};
  size_t head;
  if (depth >= DEPTH_MAX) luaL_error(L, "a table is nested too deeply to leave Lua (or holds itself)");
  luaL_checkstack(L, 4, "a table is nested too deeply to leave Lua");
  put_tag(L, out, TAG_TABLE);
  head = out->len;
  put(L, out, counts, 8);
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    int top = lua_gettop(L);
    encode(L, out, top - 1, depth + 1);
    encode(L, out, top, depth + 1);
    lua_settop(L, top - 1);
    counts[1]++;
  }
  memcpy(out->at + head, counts, 8);
}

static void encode(lua_State *L, Bytes *out, int index, int depth) {
  switch (lua_type(L, index)) {
    case LUA_TNIL:
      put_tag(L, out, TAG_NIL);
      return;
    case LUA_TBOOLEAN:
      put_tag(L, out, lua_toboolean(L, index) ? TAG_TRUE : TAG_FALSE);
      return;
    case LUA_TNUMBER: {
      double number = lua_tonumber(L, index);
      put_tag(L, out, TAG_NUMBER);
      put(L, out, &number, 8);
      return;
    }
    case LUA_TSTRING: {
      size_t len;
      const char *text = lua_tolstring(L, index, &len);
      put_text(L, out, TAG_TEXT, text, len);
      return;
    }
    case LUA_TTABLE:
      encode_table(L, out, index, depth);
      return;
    case LUA_TLIGHTUSERDATA:
      if (lua_touserdata(L, index) == NULL) {
        put_tag(L, out, TAG_NULL);
        return;
      }
      /* fall through */
    default: {
      const char *name = luaL_typename(L, index);
      put_text(L, out, TAG_OTHER, name, strlen(name));
    }
  }
}

void codec_encode(lua_State *L, Bytes *out, int index) {
  luaL_checkstack(L, 4, NULL);
  encode(L, out, index, 0);
}

typedef struct Input {
  const uint8_t *at, *end;
} Input;

static const uint8_t *take(lua_State *L, Input *in, size_t len) {
  const uint8_t *at = in->at;
  if ((size_t)(in->end - at) < len) luaL_error(L, "a value from the host is cut short");
  in->at += len;
  return at;
}

static uint32_t take_count(lua_State *L, Input *in) {
  uint32_t count;
  memcpy(&count, take(L, in, 4), 4);
  return count;
}

static void decode(lua_State *L, Input *in, int depth);

static void decode_table(lua_State *L, Input *in, int depth) {
  uint32_t items = take_count(L, in), members = take_count(L, in), i;
  if (depth >= DEPTH_MAX) luaL_error(L, "a value from the host is nested too deeply");
  luaL_checkstack(L, 4, NULL);
  lua_createtable(L, (int)items, (int)members);
  for (i = 1; i <= items; i++) {
    decode(L, in, depth + 1);
    lua_rawseti(L, -2, (int)i);
  }
  for (i = 0; i < members; i++) {
    decode(L, in, depth + 1);
    decode(L, in, depth + 1);
    lua_rawset(L, -3);
  }
}

static void decode(lua_State *L, Input *in, int depth) {
  switch (*take(L, in, 1)) {
    case TAG_NIL:
      lua_pushnil(L);
      return;
    case TAG_FALSE:
      lua_pushboolean(L, 0);
      return;
    case TAG_TRUE:
      lua_pushboolean(L, 1);
      return;
    case TAG_NUMBER: {
      double number;
      memcpy(&number, take(L, in, 8), 8);
      lua_pushnumber(L, number);
      return;
    }
    case TAG_TEXT: {
      uint32_t len = take_count(L, in);
      lua_pushlstring(L, (const char *)take(L, in, len), len);
      return;
    }
    case TAG_TABLE:
      decode_table(L, in, depth);
      return;
    case TAG_NULL:
      lua_pushlightuserdata(L, NULL);
      return;
    case TAG_KEPT:
      luaL_checkstack(L, 1, NULL);
      lua_rawgeti(L, LUA_REGISTRYINDEX, (int)take_count(L, in));
      return;
    default:
      luaL_error(L, "a value from the host has an unknown tag");
  }
}

void codec_decode(lua_State *L, const uint8_t *bytes, size_t len, uint32_t count) {
  Input in = {bytes, bytes + len};
  uint32_t i;
  if (count > 8000) luaL_error(L, "too many values from the host");
  luaL_checkstack(L, (int)count + 4, "too many values from the host");
  for (i = 0; i < count; i++) decode(L, &in, 0);
}
