//! The functions of oneDNN that are measured, as bindgen 0.73 writes them from the `dnnl.h` of oneDNN 3.13:
//!
//! ```text
//! bindgen dnnl.h --dynamic-loading Dnnl --no-layout-tests --no-doc-comments --disable-header-comment --rust-target 1.85
//!     --rust-edition 2024 --default-enum-style consts --blocklist-type 'dnnl_(format_tag|data_type|query|status|engine_kind)_t'
//!     --allowlist-function 'dnnl_(version|engine_create|stream_create|stream_wait|memory_create|memory_map_data|memory_unmap_data|
//!         memory_destroy|memory_desc_create_with_tag|memory_desc_get_size|memory_desc_destroy|matmul_primitive_desc_create|
//!         reorder_primitive_desc_create|primitive_desc_query_md|primitive_desc_destroy|primitive_create|primitive_execute|
//!         primitive_destroy)'
//! ```
//!
//! The five enumerations, whose thousands of names are left out, follow as what C makes of them.

pub type dnnl_format_tag_t = ::std::os::raw::c_uint;
pub type dnnl_data_type_t = ::std::os::raw::c_uint;
pub type dnnl_query_t = ::std::os::raw::c_uint;
pub type dnnl_status_t = ::std::os::raw::c_uint;
pub type dnnl_engine_kind_t = ::std::os::raw::c_uint;

pub type dnnl_dim_t = i64;
pub type dnnl_dims_t = [dnnl_dim_t; 12usize];
#[repr(C)]
#[derive(Debug)]
pub struct dnnl_engine {
    _unused: [u8; 0],
}
pub type dnnl_engine_t = *mut dnnl_engine;
#[repr(C)]
#[derive(Debug)]
pub struct dnnl_stream {
    _unused: [u8; 0],
}
pub type dnnl_stream_t = *mut dnnl_stream;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct dnnl_version_t {
    pub major: ::std::os::raw::c_int,
    pub minor: ::std::os::raw::c_int,
    pub patch: ::std::os::raw::c_int,
    pub hash: *const ::std::os::raw::c_char,
    pub cpu_runtime: ::std::os::raw::c_uint,
    pub gpu_runtime: ::std::os::raw::c_uint,
}
#[repr(C)]
#[derive(Debug)]
pub struct dnnl_memory_desc {
    _unused: [u8; 0],
}
pub type dnnl_memory_desc_t = *mut dnnl_memory_desc;
pub type const_dnnl_memory_desc_t = *const dnnl_memory_desc;
#[repr(C)]
#[derive(Debug)]
pub struct dnnl_memory {
    _unused: [u8; 0],
}
pub type dnnl_memory_t = *mut dnnl_memory;
pub type const_dnnl_memory_t = *const dnnl_memory;
#[repr(C)]
#[derive(Debug)]
pub struct dnnl_primitive_desc {
    _unused: [u8; 0],
}
pub type dnnl_primitive_desc_t = *mut dnnl_primitive_desc;
pub type const_dnnl_primitive_desc_t = *const dnnl_primitive_desc;
#[repr(C)]
#[derive(Debug)]
pub struct dnnl_primitive_attr {
    _unused: [u8; 0],
}
pub type const_dnnl_primitive_attr_t = *const dnnl_primitive_attr;
#[repr(C)]
#[derive(Debug)]
pub struct dnnl_primitive {
    _unused: [u8; 0],
}
pub type dnnl_primitive_t = *mut dnnl_primitive;
pub type const_dnnl_primitive_t = *const dnnl_primitive;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct dnnl_exec_arg_t {
    pub arg: ::std::os::raw::c_int,
    pub memory: dnnl_memory_t,
}
pub struct Dnnl {
    __library: ::libloading::Library,
    pub dnnl_engine_create: Result<
        unsafe extern "C" fn(engine: *mut dnnl_engine_t, kind: dnnl_engine_kind_t, index: usize) -> dnnl_status_t,
        ::libloading::Error,
    >,
    pub dnnl_stream_create: Result<
        unsafe extern "C" fn(stream: *mut dnnl_stream_t, engine: dnnl_engine_t, flags: ::std::os::raw::c_uint) -> dnnl_status_t,
        ::libloading::Error,
    >,
    pub dnnl_stream_wait: Result<unsafe extern "C" fn(stream: dnnl_stream_t) -> dnnl_status_t, ::libloading::Error>,
    pub dnnl_version: Result<unsafe extern "C" fn() -> *const dnnl_version_t, ::libloading::Error>,
    pub dnnl_primitive_desc_destroy:
        Result<unsafe extern "C" fn(primitive_desc: dnnl_primitive_desc_t) -> dnnl_status_t, ::libloading::Error>,
    pub dnnl_primitive_desc_query_md: Result<
        unsafe extern "C" fn(
            primitive_desc: const_dnnl_primitive_desc_t,
            what: dnnl_query_t,
            index: ::std::os::raw::c_int,
        ) -> const_dnnl_memory_desc_t,
        ::libloading::Error,
    >,
    pub dnnl_primitive_create: Result<
        unsafe extern "C" fn(primitive: *mut dnnl_primitive_t, primitive_desc: const_dnnl_primitive_desc_t) -> dnnl_status_t,
        ::libloading::Error,
    >,
    pub dnnl_primitive_execute: Result<
        unsafe extern "C" fn(
            primitive: const_dnnl_primitive_t,
            stream: dnnl_stream_t,
            nargs: ::std::os::raw::c_int,
            args: *const dnnl_exec_arg_t,
        ) -> dnnl_status_t,
        ::libloading::Error,
    >,
    pub dnnl_primitive_destroy: Result<unsafe extern "C" fn(primitive: dnnl_primitive_t) -> dnnl_status_t, ::libloading::Error>,
    pub dnnl_memory_desc_destroy:
        Result<unsafe extern "C" fn(memory_desc: dnnl_memory_desc_t) -> dnnl_status_t, ::libloading::Error>,
    pub dnnl_memory_desc_create_with_tag: Result<
        unsafe extern "C" fn(
            memory_desc: *mut dnnl_memory_desc_t,
            ndims: ::std::os::raw::c_int,
            dims: *const dnnl_dim_t,
            data_type: dnnl_data_type_t,
            tag: dnnl_format_tag_t,
        ) -> dnnl_status_t,
        ::libloading::Error,
    >,
    pub dnnl_memory_desc_get_size:
        Result<unsafe extern "C" fn(memory_desc: const_dnnl_memory_desc_t) -> usize, ::libloading::Error>,
    pub dnnl_memory_create: Result<
        unsafe extern "C" fn(
            memory: *mut dnnl_memory_t,
            memory_desc: const_dnnl_memory_desc_t,
            engine: dnnl_engine_t,
            handle: *mut ::std::os::raw::c_void,
        ) -> dnnl_status_t,
        ::libloading::Error,
    >,
    pub dnnl_memory_map_data: Result<
        unsafe extern "C" fn(memory: const_dnnl_memory_t, mapped_ptr: *mut *mut ::std::os::raw::c_void) -> dnnl_status_t,
        ::libloading::Error,
    >,
    pub dnnl_memory_unmap_data: Result<
        unsafe extern "C" fn(memory: const_dnnl_memory_t, mapped_ptr: *mut ::std::os::raw::c_void) -> dnnl_status_t,
        ::libloading::Error,
    >,
    pub dnnl_memory_destroy: Result<unsafe extern "C" fn(memory: dnnl_memory_t) -> dnnl_status_t, ::libloading::Error>,
    pub dnnl_reorder_primitive_desc_create: Result<
        unsafe extern "C" fn(
            reorder_primitive_desc: *mut dnnl_primitive_desc_t,
            src_desc: const_dnnl_memory_desc_t,
            src_engine: dnnl_engine_t,
            dst_desc: const_dnnl_memory_desc_t,
            dst_engine: dnnl_engine_t,
            attr: const_dnnl_primitive_attr_t,
        ) -> dnnl_status_t,
        ::libloading::Error,
    >,
    pub dnnl_matmul_primitive_desc_create: Result<
        unsafe extern "C" fn(
            primitive_desc: *mut dnnl_primitive_desc_t,
            engine: dnnl_engine_t,
            src_desc: const_dnnl_memory_desc_t,
            weights_desc: const_dnnl_memory_desc_t,
            bias_desc: const_dnnl_memory_desc_t,
            dst_desc: const_dnnl_memory_desc_t,
            attr: const_dnnl_primitive_attr_t,
        ) -> dnnl_status_t,
        ::libloading::Error,
    >,
}
impl Dnnl {
    pub unsafe fn new<P>(path: P) -> Result<Self, ::libloading::Error>
    where
        P: AsRef<::std::ffi::OsStr>,
    {
        let path = path.as_ref();
        let library = ::libloading::Library::new(path)?;
        Self::from_library(library)
    }
    pub unsafe fn from_library<L>(library: L) -> Result<Self, ::libloading::Error>
    where
        L: Into<::libloading::Library>,
    {
        let __library = library.into();
        let dnnl_engine_create = __library.get(b"dnnl_engine_create\0").map(|sym| *sym);
        let dnnl_stream_create = __library.get(b"dnnl_stream_create\0").map(|sym| *sym);
        let dnnl_stream_wait = __library.get(b"dnnl_stream_wait\0").map(|sym| *sym);
        let dnnl_version = __library.get(b"dnnl_version\0").map(|sym| *sym);
        let dnnl_primitive_desc_destroy = __library.get(b"dnnl_primitive_desc_destroy\0").map(|sym| *sym);
        let dnnl_primitive_desc_query_md = __library.get(b"dnnl_primitive_desc_query_md\0").map(|sym| *sym);
        let dnnl_primitive_create = __library.get(b"dnnl_primitive_create\0").map(|sym| *sym);
        let dnnl_primitive_execute = __library.get(b"dnnl_primitive_execute\0").map(|sym| *sym);
        let dnnl_primitive_destroy = __library.get(b"dnnl_primitive_destroy\0").map(|sym| *sym);
        let dnnl_memory_desc_destroy = __library.get(b"dnnl_memory_desc_destroy\0").map(|sym| *sym);
        let dnnl_memory_desc_create_with_tag = __library.get(b"dnnl_memory_desc_create_with_tag\0").map(|sym| *sym);
        let dnnl_memory_desc_get_size = __library.get(b"dnnl_memory_desc_get_size\0").map(|sym| *sym);
        let dnnl_memory_create = __library.get(b"dnnl_memory_create\0").map(|sym| *sym);
        let dnnl_memory_map_data = __library.get(b"dnnl_memory_map_data\0").map(|sym| *sym);
        let dnnl_memory_unmap_data = __library.get(b"dnnl_memory_unmap_data\0").map(|sym| *sym);
        let dnnl_memory_destroy = __library.get(b"dnnl_memory_destroy\0").map(|sym| *sym);
        let dnnl_reorder_primitive_desc_create = __library.get(b"dnnl_reorder_primitive_desc_create\0").map(|sym| *sym);
        let dnnl_matmul_primitive_desc_create = __library.get(b"dnnl_matmul_primitive_desc_create\0").map(|sym| *sym);
        Ok(Dnnl {
            __library,
            dnnl_engine_create,
            dnnl_stream_create,
            dnnl_stream_wait,
            dnnl_version,
            dnnl_primitive_desc_destroy,
            dnnl_primitive_desc_query_md,
            dnnl_primitive_create,
            dnnl_primitive_execute,
            dnnl_primitive_destroy,
            dnnl_memory_desc_destroy,
            dnnl_memory_desc_create_with_tag,
            dnnl_memory_desc_get_size,
            dnnl_memory_create,
            dnnl_memory_map_data,
            dnnl_memory_unmap_data,
            dnnl_memory_destroy,
            dnnl_reorder_primitive_desc_create,
            dnnl_matmul_primitive_desc_create,
        })
    }
    pub unsafe fn dnnl_engine_create(&self, engine: *mut dnnl_engine_t, kind: dnnl_engine_kind_t, index: usize) -> dnnl_status_t {
        (self.dnnl_engine_create.as_ref().expect("Expected function, got error."))(engine, kind, index)
    }
    pub unsafe fn dnnl_stream_create(
        &self,
        stream: *mut dnnl_stream_t,
        engine: dnnl_engine_t,
        flags: ::std::os::raw::c_uint,
    ) -> dnnl_status_t {
        (self.dnnl_stream_create.as_ref().expect("Expected function, got error."))(stream, engine, flags)
    }
    pub unsafe fn dnnl_stream_wait(&self, stream: dnnl_stream_t) -> dnnl_status_t {
        (self.dnnl_stream_wait.as_ref().expect("Expected function, got error."))(stream)
    }
    pub unsafe fn dnnl_version(&self) -> *const dnnl_version_t {
        (self.dnnl_version.as_ref().expect("Expected function, got error."))()
    }
    pub unsafe fn dnnl_primitive_desc_destroy(&self, primitive_desc: dnnl_primitive_desc_t) -> dnnl_status_t {
        (self.dnnl_primitive_desc_destroy.as_ref().expect("Expected function, got error."))(primitive_desc)
    }
    pub unsafe fn dnnl_primitive_desc_query_md(
        &self,
        primitive_desc: const_dnnl_primitive_desc_t,
        what: dnnl_query_t,
        index: ::std::os::raw::c_int,
    ) -> const_dnnl_memory_desc_t {
        (self.dnnl_primitive_desc_query_md.as_ref().expect("Expected function, got error."))(primitive_desc, what, index)
    }
    pub unsafe fn dnnl_primitive_create(
        &self,
        primitive: *mut dnnl_primitive_t,
        primitive_desc: const_dnnl_primitive_desc_t,
    ) -> dnnl_status_t {
        (self.dnnl_primitive_create.as_ref().expect("Expected function, got error."))(primitive, primitive_desc)
    }
    pub unsafe fn dnnl_primitive_execute(
        &self,
        primitive: const_dnnl_primitive_t,
        stream: dnnl_stream_t,
        nargs: ::std::os::raw::c_int,
        args: *const dnnl_exec_arg_t,
    ) -> dnnl_status_t {
        (self.dnnl_primitive_execute.as_ref().expect("Expected function, got error."))(primitive, stream, nargs, args)
    }
    pub unsafe fn dnnl_primitive_destroy(&self, primitive: dnnl_primitive_t) -> dnnl_status_t {
        (self.dnnl_primitive_destroy.as_ref().expect("Expected function, got error."))(primitive)
    }
    pub unsafe fn dnnl_memory_desc_destroy(&self, memory_desc: dnnl_memory_desc_t) -> dnnl_status_t {
        (self.dnnl_memory_desc_destroy.as_ref().expect("Expected function, got error."))(memory_desc)
    }
    pub unsafe fn dnnl_memory_desc_create_with_tag(
        &self,
        memory_desc: *mut dnnl_memory_desc_t,
        ndims: ::std::os::raw::c_int,
        dims: *const dnnl_dim_t,
        data_type: dnnl_data_type_t,
        tag: dnnl_format_tag_t,
    ) -> dnnl_status_t {
        (self.dnnl_memory_desc_create_with_tag.as_ref().expect("Expected function, got error."))(
            memory_desc,
            ndims,
            dims,
            data_type,
            tag,
        )
    }
    pub unsafe fn dnnl_memory_desc_get_size(&self, memory_desc: const_dnnl_memory_desc_t) -> usize {
        (self.dnnl_memory_desc_get_size.as_ref().expect("Expected function, got error."))(memory_desc)
    }
    pub unsafe fn dnnl_memory_create(
        &self,
        memory: *mut dnnl_memory_t,
        memory_desc: const_dnnl_memory_desc_t,
        engine: dnnl_engine_t,
        handle: *mut ::std::os::raw::c_void,
    ) -> dnnl_status_t {
        (self.dnnl_memory_create.as_ref().expect("Expected function, got error."))(memory, memory_desc, engine, handle)
    }
    pub unsafe fn dnnl_memory_map_data(
        &self,
        memory: const_dnnl_memory_t,
        mapped_ptr: *mut *mut ::std::os::raw::c_void,
    ) -> dnnl_status_t {
        (self.dnnl_memory_map_data.as_ref().expect("Expected function, got error."))(memory, mapped_ptr)
    }
    pub unsafe fn dnnl_memory_unmap_data(
        &self,
        memory: const_dnnl_memory_t,
        mapped_ptr: *mut ::std::os::raw::c_void,
    ) -> dnnl_status_t {
        (self.dnnl_memory_unmap_data.as_ref().expect("Expected function, got error."))(memory, mapped_ptr)
    }
    pub unsafe fn dnnl_memory_destroy(&self, memory: dnnl_memory_t) -> dnnl_status_t {
        (self.dnnl_memory_destroy.as_ref().expect("Expected function, got error."))(memory)
    }
    pub unsafe fn dnnl_reorder_primitive_desc_create(
        &self,
        reorder_primitive_desc: *mut dnnl_primitive_desc_t,
        src_desc: const_dnnl_memory_desc_t,
        src_engine: dnnl_engine_t,
        dst_desc: const_dnnl_memory_desc_t,
        dst_engine: dnnl_engine_t,
        attr: const_dnnl_primitive_attr_t,
    ) -> dnnl_status_t {
        (self.dnnl_reorder_primitive_desc_create.as_ref().expect("Expected function, got error."))(
            reorder_primitive_desc,
            src_desc,
            src_engine,
            dst_desc,
            dst_engine,
            attr,
        )
    }
    pub unsafe fn dnnl_matmul_primitive_desc_create(
        &self,
        primitive_desc: *mut dnnl_primitive_desc_t,
        engine: dnnl_engine_t,
        src_desc: const_dnnl_memory_desc_t,
        weights_desc: const_dnnl_memory_desc_t,
        bias_desc: const_dnnl_memory_desc_t,
        dst_desc: const_dnnl_memory_desc_t,
        attr: const_dnnl_primitive_attr_t,
    ) -> dnnl_status_t {
        (self.dnnl_matmul_primitive_desc_create.as_ref().expect("Expected function, got error."))(
            primitive_desc,
            engine,
            src_desc,
            weights_desc,
            bias_desc,
            dst_desc,
            attr,
        )
    }
}
